package image

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is an uncompressed layer that is made anew from its files whenever it is read, so that a program of 200 MB is
// never held in memory. Its blob and its content are the same bytes.
type layer struct {
	files []File
	hash  v1.Hash
	size  int64
}

var _ v1.Layer = (*layer)(nil)

// newLayer reads every file once to learn the layer's digest.
func newLayer(files []File) (*layer, error) {
	digest := sha256.New()
	counted := &counter{w: digest}
	if err := writeTar(counted, files); err != nil {
		return nil, err
	}
	hash := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(digest.Sum(nil))}
	return &layer{files: files, hash: hash, size: counted.n}, nil
}

// Digest is the hash of the blob.
func (l *layer) Digest() (v1.Hash, error) { return l.hash, nil }

// DiffID is the hash of the content: the blob is not compressed.
func (l *layer) DiffID() (v1.Hash, error) { return l.hash, nil }

// Size of the blob.
func (l *layer) Size() (int64, error) { return l.size, nil }

// MediaType says that the layer is not compressed.
func (l *layer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }

// Compressed returns the blob.
func (l *layer) Compressed() (io.ReadCloser, error) { return l.Uncompressed() }

// Uncompressed returns the content. The goroutine that writes it ends when the reader is read to its end or closed.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeTar(writer, l.files)) }()
	return reader, nil
}

// counter counts the bytes that go through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
