package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/matryoshka-dev/matryoshka/internal/image"
)

func TestPull(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	reference := server.Listener.Addr().String() + "/animals/kitten:1.8"
	server.Config.Handler = registryOf(t, reference).handler()
	server.Start()
	defer server.Close()

	tag, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Error(err)
	}
	if err := remote.Write(tag, empty.Image); err == nil {
		t.Error("an image can be pushed")
	}
}

// A node that asks for an image of another registry says so.
func TestStandsForTheRegistryOfTheImage(t *testing.T) {
	handler := registryOf(t, "registry.example.com/kitten:1.8").handler()
	for target, want := range map[string]int{
		"/v2/kitten/manifests/1.8?ns=registry.example.com": http.StatusOK,
		"/v2/kitten/manifests/1.9?ns=registry.example.com": http.StatusNotFound,
		"/v2/kitten/manifests/1.8?ns=other.example.com":    http.StatusNotFound,
		"/v2/kitten/manifests/1.8":                         http.StatusNotFound,
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodHead, target, http.NoBody))
		if answer.Code != want {
			t.Errorf("%s is answered with %d, want %d", target, answer.Code, want)
		}
	}
}

// registryOf serves an archive with one image.
func registryOf(t *testing.T, reference string) *registry {
	t.Helper()
	random, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "images.tar"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	made := image.Image{Reference: reference, Image: mutate.MediaType(random, types.OCIManifestSchema1)}
	if err := image.WriteArchive(file, made); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	served, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	return served
}
