package quota

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/connlimit"
)

const (
	// WebhookPath is where the host's API server asks.
	WebhookPath = "/v1/make-room"
	// reviewMost bounds a review: it holds an object twice, and the API server takes none beyond 3 MiB.
	reviewMost = 8 << 20
	// An API server keeps few connections with many requests on each.
	connectionsMost, connectionsOfSource = 512, 128
	answerTakes                          = 10 * time.Second
)

// Serve answers the webhook until the context ends. It allows everything.
func (c *Controller) Serve(ctx context.Context, listener net.Listener, certificate func() (*tls.Certificate, error)) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+WebhookPath, c.answer)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: answerTakes, ReadTimeout: answerTakes, WriteTimeout: answerTakes, IdleTimeout: 2 * time.Minute,
		ErrorLog:    slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate()
		}},
	}
	defer context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitMost)
		defer cancel()
		if server.Shutdown(ending) != nil {
			server.Close()
		}
	})()
	err := server.ServeTLS(connlimit.New(listener, connectionsMost, connectionsOfSource), "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (c *Controller) answer(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, reviewMost))
	if err != nil {
		http.Error(response, "the review is too large or incomplete", http.StatusRequestEntityTooLarge)
		return
	}
	review := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(body, review); err != nil || review.Request == nil {
		http.Error(response, "this is no AdmissionReview", http.StatusBadRequest)
		return
	}
	answer := &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, Warnings: c.review(request.Context(), review.Request)},
	}
	response.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(response).Encode(answer); err != nil {
		c.log.Debug("Cannot answer the API server", "error", err)
	}
}

// review makes room for a request, and says what whoever made it should know.
func (c *Controller) review(ctx context.Context, request *admissionv1.AdmissionRequest) []string {
	if request.DryRun != nil && *request.DryRun {
		return nil
	}
	needs, pod, err := need(request)
	if err != nil {
		c.log.Debug("Cannot tell what a request needs", "resource", request.Resource.Resource, "namespace", request.Namespace, "error", err)
		return nil
	}
	if len(needs) == 0 {
		return nil
	}
	var warnings []string
	for _, one := range c.makeRoom(ctx, request.Namespace, needs, pod) {
		warnings = append(warnings, one.String())
	}
	return warnings
}
