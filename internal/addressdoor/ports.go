package addressdoor

import corev1 "k8s.io/api/core/v1"

// mergePorts is the port list that a host Service needs so that it holds a node port for every asked port: the asked
// ones, with the node ports that it already has for their names, and those of its own that do not stand in the way.
// needed is false when it holds all of them already; then it must not be touched, since traffic may flow over it.
func mergePorts(hostPorts, asked []corev1.ServicePort) (merged []corev1.ServicePort, needed bool) {
	filled := keepNodePorts(hostPorts, asked)
	held := nodePorts(hostPorts)
	for _, port := range filled {
		if port.NodePort == 0 || !held[port.NodePort] {
			needed = true
		}
	}
	if !needed {
		return hostPorts, false
	}
	merged = append(merged, filled...)
	for _, hostPort := range hostPorts {
		if !inTheWay(hostPort, filled) {
			merged = append(merged, hostPort)
		}
	}
	return merged, true
}

// keepNodePorts fills in the node ports that are known by port name, as the API server does on an update.
func keepNodePorts(hostPorts, asked []corev1.ServicePort) []corev1.ServicePort {
	byName := map[string]int32{}
	for _, port := range hostPorts {
		byName[port.Name] = port.NodePort
	}
	used := nodePorts(asked)
	filled := make([]corev1.ServicePort, len(asked))
	copy(filled, asked)
	for i := range filled {
		known := byName[filled[i].Name]
		if filled[i].NodePort == 0 && !used[known] {
			filled[i].NodePort = known
			used[known] = known != 0
		}
	}
	return filled
}

func nodePorts(ports []corev1.ServicePort) map[int32]bool {
	set := map[int32]bool{}
	for _, port := range ports {
		if port.NodePort != 0 {
			set[port.NodePort] = true
		}
	}
	return set
}

// inTheWay tells whether a port that the host Service has cannot stay beside the asked ones.
func inTheWay(hostPort corev1.ServicePort, asked []corev1.ServicePort) bool {
	for _, port := range asked {
		// With more than one port each needs a name.
		if hostPort.Name == "" || port.Name == "" || hostPort.Name == port.Name {
			return true
		}
		if hostPort.Port == port.Port && protocol(hostPort) == protocol(port) {
			return true
		}
		if hostPort.NodePort != 0 && hostPort.NodePort == port.NodePort {
			return true
		}
	}
	return false
}

func protocol(port corev1.ServicePort) corev1.Protocol {
	if port.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return port.Protocol
}
