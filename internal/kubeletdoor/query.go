package kubeletdoor

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// maxPorts bounds the ports of one port-forward over WebSocket.
const maxPorts = 64

// hostQuery writes the query of the host pod's subresource from what was asked of the kubelet. Only known parameters
// with values of the right form pass.
func (r podRequest) hostQuery() (url.Values, error) {
	switch r.action {
	case actionLog:
		return r.logQuery()
	case actionExec:
		query, err := r.streamQuery()
		if err != nil {
			return nil, err
		}
		if len(r.query["command"]) == 0 {
			return nil, fmt.Errorf("exec needs a command")
		}
		query["command"] = r.query["command"]
		return query, nil
	case actionAttach:
		return r.streamQuery()
	case actionPortForward:
		return r.portQuery()
	}
	return nil, fmt.Errorf("%s is not a stream", r.action)
}

var logForms = map[string]func(string) bool{
	"follow":       isBool,
	"previous":     isBool,
	"timestamps":   isBool,
	"sinceSeconds": isCount,
	"sinceTime":    isTime,
	"tailLines":    isCount,
	"limitBytes":   isCount,
	"stream":       isStream,
}

func (r podRequest) logQuery() (url.Values, error) {
	asked := r.query
	query := url.Values{"container": {r.container}}
	// The kubelet's older name for tailLines, with a word for everything.
	if tail := asked.Get("tail"); tail != "" && tail != "all" {
		asked = url.Values{"tailLines": {tail}}
		for key, values := range r.query {
			if key != "tail" {
				asked[key] = values
			}
		}
	}
	for key, isForm := range logForms {
		value := asked.Get(key)
		if value == "" {
			continue
		}
		if !isForm(value) {
			return nil, fmt.Errorf("the value %q of the parameter %s is not understood", value, key)
		}
		query.Set(key, value)
	}
	if asked.Get("stream") == corev1.LogStreamAll {
		// It is the default, and older hosts do not know the parameter.
		query.Del("stream")
	}
	return query, nil
}

func isBool(value string) bool { _, err := strconv.ParseBool(value); return err == nil }

func isCount(value string) bool {
	number, err := strconv.ParseInt(value, 10, 64)
	return err == nil && number >= 0
}

func isTime(value string) bool { _, err := time.Parse(time.RFC3339, value); return err == nil }

func isStream(value string) bool {
	return slices.Contains([]string{corev1.LogStreamAll, corev1.LogStreamStdout, corev1.LogStreamStderr}, value)
}

// streamNames are the kubelet's names of what the API server calls otherwise.
var streamNames = map[string]string{
	corev1.ExecStdinParam:  "stdin",
	corev1.ExecStdoutParam: "stdout",
	corev1.ExecStderrParam: "stderr",
	corev1.ExecTTYParam:    "tty",
}

func (r podRequest) streamQuery() (url.Values, error) {
	query := url.Values{"container": {r.container}}
	asksForStream := false
	for kubeletName, hostName := range streamNames {
		// The kubelet counts any other value as no.
		isWanted := r.query.Get(kubeletName) == "1"
		asksForStream = asksForStream || isWanted && hostName != "tty"
		// Said openly: for some of them the API server's default is yes.
		query.Set(hostName, strconv.FormatBool(isWanted))
	}
	if !asksForStream {
		return nil, fmt.Errorf("at least one of input, output and error must be 1")
	}
	return query, nil
}

// portQuery is for WebSocket; over SPDY the ports come with the streams.
func (r podRequest) portQuery() (url.Values, error) {
	query := url.Values{}
	asked := slices.Concat(r.query[corev1.PortHeader], r.query["ports"])
	for _, list := range asked {
		for text := range strings.SplitSeq(list, ",") {
			port, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("%q is not a port", text)
			}
			query.Add("ports", strconv.FormatUint(port, 10))
		}
	}
	if len(query["ports"]) > maxPorts {
		return nil, fmt.Errorf("one port-forward carries at most %d ports", maxPorts)
	}
	return query, nil
}
