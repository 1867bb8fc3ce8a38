package store

import "strings"

// redact returns the error's text without the data source name, which can hold a password for the stores that will
// join sqlite and memory.
func redact(err error, dataSource string) string {
	if dataSource == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), dataSource, "<datastore>")
}
