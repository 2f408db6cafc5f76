// The worker for the clients of Go; see ../workers.py for what it is asked. Its first argument is the library: aws or minio.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
)

// client is one library: what moves an object, with the library's default settings.
type client interface {
	module() string
	put(bucket, key string, file *os.File) error
	multipart(bucket, key string, file *os.File) error
	get(bucket, key string, to io.Writer) error
	getRange(bucket, key string, first, last int64, to io.Writer) error
	list(bucket, prefix string) ([]string, error)
	copy(bucket, source, target string) error
	delete(bucket, key string) error
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(library, operation string, words []string) error {
	clients := map[string]func() (client, error){"aws": newAws, "minio": newMinio}
	c, err := clients[library]()
	if err != nil {
		return err
	}
	switch operation {
	case "version":
		return version(c.module())
	case "put", "get", "multipart":
		for at := 1; at+1 < len(words); at += 2 {
			if err := transfer(c, operation, words[0], words[at], words[at+1]); err != nil {
				return err
			}
		}
		return nil
	case "range":
		first, _ := strconv.ParseInt(words[2], 10, 64)
		last, _ := strconv.ParseInt(words[3], 10, 64)
		return c.getRange(words[0], words[1], first, last, os.Stdout)
	case "list":
		keys, err := c.list(words[0], words[1])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(keys)
	case "copy":
		return c.copy(words[0], words[1], words[2])
	case "delete":
		return c.delete(words[0], words[1])
	}
	return fmt.Errorf("unknown operation %s", operation)
}

func transfer(c client, operation, bucket, key, path string) error {
	if operation == "get" {
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		defer file.Close()
		return c.get(bucket, key, file)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if operation == "multipart" {
		return c.multipart(bucket, key, file)
	}
	return c.put(bucket, key, file)
}

// version prints which version of a module is compiled in.
func version(module string) error {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			fmt.Println(dependency.Version[1:])
			return nil
		}
	}
	return fmt.Errorf("%s is not compiled in", module)
}
