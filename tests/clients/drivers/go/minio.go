package main

import (
	"context"
	"io"
	"net/url"
	"os"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// mc is MinIO's client for Go.
type mc struct{ s3 *minio.Client }

func newMinio() (client, error) {
	endpoint, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL"))
	if err != nil {
		return nil, err
	}
	s3, err := minio.New(endpoint.Host, &minio.Options{Creds: credentials.NewEnvAWS(), Secure: endpoint.Scheme == "https"})
	return &mc{s3}, err
}

func (m *mc) module() string { return "github.com/minio/minio-go/v7" }

func (m *mc) put(bucket, key string, file *os.File) error {
	_, err := m.s3.FPutObject(context.Background(), bucket, key, file.Name(), minio.PutObjectOptions{})
	return err
}

// Of unknown length, as from a pipe.
func (m *mc) multipart(bucket, key string, file *os.File) error {
	_, err := m.s3.PutObject(context.Background(), bucket, key, file, -1, minio.PutObjectOptions{PartSize: 8 << 20})
	return err
}

func (m *mc) get(bucket, key string, to io.Writer) error {
	return m.fetch(bucket, key, minio.GetObjectOptions{}, to)
}

func (m *mc) getRange(bucket, key string, first, last int64, to io.Writer) error {
	options := minio.GetObjectOptions{}
	if err := options.SetRange(first, last); err != nil {
		return err
	}
	return m.fetch(bucket, key, options, to)
}

func (m *mc) fetch(bucket, key string, options minio.GetObjectOptions, to io.Writer) error {
	object, err := m.s3.GetObject(context.Background(), bucket, key, options)
	if err != nil {
		return err
	}
	defer object.Close()
	_, err = io.Copy(to, object)
	return err
}

func (m *mc) list(bucket, prefix string) ([]string, error) {
	keys := []string{}
	options := minio.ListObjectsOptions{Prefix: prefix, Recursive: true}
	for found := range m.s3.ListObjects(context.Background(), bucket, options) {
		if found.Err != nil {
			return nil, found.Err
		}
		keys = append(keys, found.Key)
	}
	return keys, nil
}

func (m *mc) copy(bucket, source, target string) error {
	to := minio.CopyDestOptions{Bucket: bucket, Object: target}
	_, err := m.s3.CopyObject(context.Background(), to, minio.CopySrcOptions{Bucket: bucket, Object: source})
	return err
}

func (m *mc) delete(bucket, key string) error {
	return m.s3.RemoveObject(context.Background(), bucket, key, minio.RemoveObjectOptions{})
}
