package sharedclient

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Empty tells whether no key has the prefix.
func (c *Client) Empty(ctx context.Context, prefix string) (bool, error) {
	response, err := c.kv.Get(ctx, prefix+"/", clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return false, fmt.Errorf("look into the datastore: %w", err)
	}
	for _, pair := range response.Kvs {
		// The health check's key is the datastore's own.
		if string(pair.Key) != prefix+"/health" {
			return false, nil
		}
	}
	return true, nil
}

// Create writes a key that is absent and leaves a present one alone.
func (c *Client) Create(ctx context.Context, key string, value []byte) error {
	_, err := c.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil {
		return fmt.Errorf("write to the datastore: %w", err)
	}
	return nil
}
