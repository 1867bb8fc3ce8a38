package agent

import (
	"context"
	"fmt"
	"net"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/matryoshka-dev/matryoshka/internal/frontdoor"
)

func (a *agent) addFrontDoor(ctx context.Context) error {
	server := &frontdoor.Server{Registry: a.registry, Log: a.log.With("part", "frontdoor")}
	return a.listen(ctx, "front door", a.config.FrontDoorListen, server.Serve)
}

// listen opens a port at once, so that a port in use ends the agent with a clear error, and serves it whatever shards this
// replica holds.
func (a *agent) listen(ctx context.Context, name, address string, serve func(context.Context, net.Listener) error) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("open the %s: %w", name, err)
	}
	err = a.manager.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if err := serve(ctx, listener); err != nil {
			return fmt.Errorf("serve the %s: %w", name, err)
		}
		return nil
	}))
	if err != nil {
		return fmt.Errorf("add the %s: %w", name, err)
	}
	return nil
}
