// Command demo is the app that `matry up --demo` deploys inside a virtual cluster. It answers with where it runs, as
// the tenant's downward API told it: the names are the tenant's, never those of the host.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// place is where the app runs. Empty fields were not in the environment.
type place struct {
	VirtualCluster string `json:"virtualCluster"`
	Namespace      string `json:"namespace"`
	Pod            string `json:"pod"`
	PodIP          string `json:"podIP"`
	Node           string `json:"node"`
}

func main() {
	if err := run(); err != nil {
		slog.Error("The demo app ended", "error", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	address := os.Getenv("LISTEN")
	if address == "" {
		address = ":8080"
	}
	server := &http.Server{
		Addr:              address,
		Handler:           newHandler(placeFrom(os.Getenv)),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return fmt.Errorf("listen on %q: %w", address, err)
	case <-ctx.Done():
	}

	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		return fmt.Errorf("finish open requests: %w", err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func placeFrom(env func(string) string) place {
	return place{
		VirtualCluster: env("VIRTUAL_CLUSTER"),
		Namespace:      env("POD_NAMESPACE"),
		Pod:            env("POD_NAME"),
		PodIP:          env("POD_IP"),
		Node:           env("NODE_NAME"),
	}
}

func newHandler(here place) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "application/json" {
			w.Header().Set("Content-Type", "application/json")
			// The only error is a broken connection, which nobody is left to be told about.
			_ = json.NewEncoder(w).Encode(here)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, here)
	})
	return mux
}

// String is the answer for people.
func (p place) String() string {
	return fmt.Sprintf("Hello from inside virtual cluster %q.\n\nnamespace  %s\npod        %s\npod IP     %s\nnode       %s\n",
		p.VirtualCluster, p.Namespace, p.Pod, p.PodIP, p.Node)
}
