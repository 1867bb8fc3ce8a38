// Package kubeletdialer carries the API server's kubelet traffic (logs, exec, attach, port-forward, node proxy) to the
// kubelet door of the agent.
//
// It opens a tunnel for a node and looks at nothing inside: the kubelet's TLS runs from the API server to the door
// through it. Invariants: it dials the door and nothing else, whatever address a tenant writes into a Node; an address
// that is no node's is refused here.
package kubeletdialer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/server/egressselector"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/door"
)

const (
	// kubeletPort is part of the protocol, not the port of any kubelet.
	kubeletPort = "10250"
	// answerTimeout bounds the door's answer to CONNECT.
	answerTimeout = 15 * time.Second
	// maxAnswer bounds the header of the answer, maxReason the text of a refusal.
	maxAnswer = 16 << 10
	maxReason = 1 << 10
)

// ErrUnknownNode is returned for an address that no node of the tenant has as its InternalIP.
var ErrUnknownNode = errors.New("no node has this InternalIP")

// Dialer opens tunnels to kubelets.
type Dialer struct {
	Door  door.Dialer
	Nodes corelisters.NodeLister
}

// Lookup is the API server's hook for kubelet connections (KubeletClientConfig.Lookup).
func (d *Dialer) Lookup(egressselector.NetworkContext) (utilnet.DialFunc, error) { return d.Dial, nil }

// Dial returns a connection to the kubelet of the node with that address.
func (d *Dialer) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("kubelet address %q: %w", address, err)
	}
	node, err := d.nodeOf(host)
	if err != nil {
		return nil, err
	}
	connection, err := d.Door.Dial(ctx)
	if err != nil {
		return nil, err
	}
	tunnel, err := connect(ctx, connection, net.JoinHostPort(node, kubeletPort))
	if err != nil {
		_ = connection.Close() // its error would name the host's addresses to the tenant
		return nil, fmt.Errorf("open a tunnel to the kubelet of node %q: %w", node, err)
	}
	return tunnel, nil
}

func (d *Dialer) nodeOf(address string) (string, error) {
	nodes, err := d.Nodes.List(labels.Everything())
	if err != nil {
		return "", fmt.Errorf("list nodes: %w", err)
	}
	for _, node := range nodes {
		for _, candidate := range node.Status.Addresses {
			if candidate.Type == corev1.NodeInternalIP && candidate.Address == address {
				return node.Name, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", address, ErrUnknownNode)
}

func connect(ctx context.Context, connection net.Conn, target string) (net.Conn, error) {
	deadline := time.Now().Add(answerTimeout)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if err := connection.SetDeadline(deadline); err != nil {
		return nil, door.NoAnswer(ctx, err)
	}
	request := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	if _, err := io.WriteString(connection, request); err != nil {
		return nil, door.NoAnswer(ctx, err)
	}
	limited := &io.LimitedReader{R: connection, N: maxAnswer}
	buffered := bufio.NewReader(limited)
	response, err := http.ReadResponse(buffered, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // after CONNECT there is no body: what follows is the tunnel
	if err != nil {
		return nil, door.NoAnswer(ctx, fmt.Errorf("read the door's answer: %w", err))
	}
	if response.StatusCode != http.StatusOK {
		return nil, refusal(response, buffered)
	}
	if err := connection.SetDeadline(time.Time{}); err != nil {
		return nil, door.NoAnswer(ctx, err)
	}
	if buffered.Buffered() > 0 {
		// In TLS the client speaks first: bytes here would be a door that breaks the protocol.
		return nil, errors.New("the door sent data before the kubelet's TLS began")
	}
	return connection, nil
}

// refusal reads the reason, which the door sends as text. After CONNECT, package http leaves the body to us.
func refusal(response *http.Response, body io.Reader) error {
	length := response.ContentLength
	if length < 0 || length > maxReason {
		length = maxReason
	}
	reason, err := io.ReadAll(io.LimitReader(body, length))
	if err != nil && len(reason) == 0 {
		return fmt.Errorf("the door answered %s", response.Status)
	}
	return fmt.Errorf("the door answered %s: %s", response.Status, strings.TrimSpace(string(reason)))
}
