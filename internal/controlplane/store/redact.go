package store

import "strings"

// redact returns the error's text without the data source name, which can hold a password for the stores that will
// join sqlite and memory.
func redact(err error, endpoint string) string {
	text := err.Error()
	_, dsn, _ := strings.Cut(endpoint, "://")
	for _, secret := range []string{endpoint, dsn} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "<datastore>")
		}
	}
	return text
}
