package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

// publish prints the table, keeps the figures for the next run, and writes the document if one was named.
func (o *options) publish(figures *report.Report, out io.Writer) error {
	return errors.Join(figures.WriteTable(out), o.keep(figures), o.document(figures))
}

func (o *options) keep(figures *report.Report) error {
	var content bytes.Buffer
	if err := figures.WriteJSON(&content); err != nil {
		return fmt.Errorf("encode the figures: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(o.json), 0o755); err != nil {
		return fmt.Errorf("keep the figures: %w", err)
	}
	if err := os.WriteFile(o.json, content.Bytes(), 0o644); err != nil {
		return fmt.Errorf("keep the figures: %w", err)
	}
	return nil
}

func (o *options) document(figures *report.Report) error {
	if o.write == "" {
		return nil
	}
	content, err := os.ReadFile(o.write)
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	changed, err := figures.ReplaceIn(string(content))
	if err != nil {
		return fmt.Errorf("%q: %w", o.write, err)
	}
	if err := os.WriteFile(o.write, []byte(changed), 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}
