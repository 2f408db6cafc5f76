package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// aws is AWS's SDK for Go, version 2, with its manager for uploads in parts.
type aws struct{ s3 *s3.Client }

func newAws() (client, error) {
	settings, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		return nil, err
	}
	// The SDK puts the bucket into the host name, and an address has no subdomains.
	return &aws{s3.NewFromConfig(settings, func(o *s3.Options) { o.UsePathStyle = true })}, nil
}

func (a *aws) module() string { return "github.com/aws/aws-sdk-go-v2/service/s3" }

func (a *aws) put(bucket, key string, file *os.File) error {
	_, err := a.s3.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: file})
	return err
}

func (a *aws) multipart(bucket, key string, file *os.File) error {
	input := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: file}
	_, err := manager.NewUploader(a.s3).Upload(context.Background(), input)
	return err
}

func (a *aws) get(bucket, key string, to io.Writer) error {
	return a.fetch(&s3.GetObjectInput{Bucket: &bucket, Key: &key}, to)
}

func (a *aws) getRange(bucket, key string, first, last int64, to io.Writer) error {
	part := fmt.Sprintf("bytes=%d-%d", first, last)
	return a.fetch(&s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: &part}, to)
}

func (a *aws) fetch(input *s3.GetObjectInput, to io.Writer) error {
	answer, err := a.s3.GetObject(context.Background(), input)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(to, answer.Body)
	return err
}

func (a *aws) list(bucket, prefix string) ([]string, error) {
	keys := []string{}
	pages := s3.NewListObjectsV2Paginator(a.s3, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return nil, err
		}
		for _, found := range page.Contents {
			keys = append(keys, *found.Key)
		}
	}
	return keys, nil
}

func (a *aws) copy(bucket, source, target string) error {
	// The SDK wants it escaped, a plus too.
	from := bucket + "/" + strings.ReplaceAll(url.QueryEscape(source), "+", "%20")
	_, err := a.s3.CopyObject(context.Background(), &s3.CopyObjectInput{Bucket: &bucket, Key: &target, CopySource: &from})
	return err
}

func (a *aws) delete(bucket, key string) error {
	_, err := a.s3.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return err
}
