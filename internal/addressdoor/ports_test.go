package addressdoor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func port(name string, number, nodePort int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: corev1.ProtocolTCP, Port: number, NodePort: nodePort}
}

func TestMergePorts(t *testing.T) {
	type ports = []corev1.ServicePort
	cases := map[string]struct {
		reason      string
		host, asked ports
		want        ports
		needed      bool
	}{
		"same": {
			reason: "asking again must not write to a Service that carries traffic",
			host:   ports{port("http", 80, 30080)}, asked: ports{port("http", 80, 0)},
			want: ports{port("http", 80, 30080)},
		},
		"explicit and held": {
			host: ports{port("http", 80, 30080)}, asked: ports{port("http", 8080, 30080)},
			want: ports{port("http", 80, 30080)},
		},
		"one more": {
			host: ports{port("http", 80, 30080)}, asked: ports{port("http", 80, 30080), port("https", 443, 0)},
			want: ports{port("http", 80, 30080), port("https", 443, 0)}, needed: true,
		},
		"removed ones stay until the sync": {
			host: ports{port("old", 81, 30081), port("http", 80, 30080)}, asked: ports{port("http", 80, 30080), port("new", 82, 0)},
			want: ports{port("http", 80, 30080), port("new", 82, 0), port("old", 81, 30081)}, needed: true,
		},
		"a renamed port gives way": {
			reason: "two ports with one number are not valid",
			host:   ports{port("http", 80, 30080)}, asked: ports{port("web", 80, 0), port("more", 81, 0)},
			want: ports{port("web", 80, 0), port("more", 81, 0)}, needed: true,
		},
		"an unnamed port gives way": {
			host: ports{port("", 80, 30080)}, asked: ports{port("a", 81, 0), port("b", 82, 0)},
			want: ports{port("a", 81, 0), port("b", 82, 0)}, needed: true,
		},
		"another node port": {
			host: ports{port("http", 80, 30080)}, asked: ports{port("http", 80, 30090)},
			want: ports{port("http", 80, 30090)}, needed: true,
		},
		"swapped names": {
			reason: "a node port that is asked for explicitly is not given to a second port by its name",
			host:   ports{port("a", 80, 30080)}, asked: ports{port("b", 81, 30080), port("a", 80, 0)},
			want: ports{port("b", 81, 30080), port("a", 80, 0)}, needed: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, needed := mergePorts(tc.host, tc.asked)
			if needed != tc.needed {
				t.Errorf("needed is %v: %s", needed, tc.reason)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzMergePorts checks that no merge asks the host for something that its validation refuses, given input that
// would be valid itself.
func FuzzMergePorts(f *testing.F) {
	f.Add([]byte{1, 80, 30}, []byte{1, 80, 0, 2, 81, 0})
	f.Add([]byte{0, 80, 30}, []byte{1, 81, 30, 2, 80, 0})
	f.Fuzz(func(t *testing.T, rawHost, rawAsked []byte) {
		hostPorts, asked := decodePorts(rawHost), decodePorts(rawAsked)
		if !valid(hostPorts) || !valid(asked) || len(asked) == 0 {
			return
		}
		merged, needed := mergePorts(hostPorts, asked)
		if !valid(merged) {
			t.Fatalf("%v and %v made %v", hostPorts, asked, merged)
		}
		if !needed {
			return
		}
		// The host gives every port a number; asking again must then be free of writes.
		next := int32(1000)
		for i := range merged {
			if merged[i].NodePort == 0 {
				merged[i].NodePort = next
				next++
			}
		}
		if again, needed := mergePorts(merged, asked); needed {
			t.Fatalf("%v and %v made %v, and then %v", hostPorts, asked, merged, again)
		}
	})
}

func decodePorts(raw []byte) []corev1.ServicePort {
	var ports []corev1.ServicePort
	for ; len(raw) >= 3; raw = raw[3:] {
		name := ""
		if raw[0] > 0 {
			name = string('a' + rune(raw[0]%8))
		}
		ports = append(ports, port(name, int32(raw[1]), int32(raw[2])))
	}
	return ports
}

func valid(ports []corev1.ServicePort) bool {
	names, numbers, nodes := map[string]bool{}, map[int32]bool{}, map[int32]bool{}
	for _, p := range ports {
		if p.Name == "" && len(ports) > 1 || names[p.Name] || numbers[p.Port] || p.NodePort != 0 && nodes[p.NodePort] {
			return false
		}
		names[p.Name], numbers[p.Port], nodes[p.NodePort] = true, true, true
	}
	return true
}
