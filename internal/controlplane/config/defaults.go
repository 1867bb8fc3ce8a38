package config

// What Default fills in.
const (
	DefaultBindAddress   = "0.0.0.0"
	DefaultPort          = 6443
	DefaultPKIDirectory  = "/etc/matryoshka/pki"
	DefaultSQLitePath    = "/var/lib/matryoshka/state.db"
	DefaultServiceRange  = "0.0.0.0/0"
	DefaultClusterDomain = "cluster.local"
)

// Default fills in what is empty. It never changes what is set, so it may run again.
func (c *ControlPlane) Default() {
	if c.BindAddress == "" {
		c.BindAddress = DefaultBindAddress
	}
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.PKIDirectory == "" {
		c.PKIDirectory = DefaultPKIDirectory
	}
	if c.Store.Type == StoreSQLite && c.Store.Path == "" {
		c.Store.Path = DefaultSQLitePath
	}
	if len(c.ServiceRanges) == 0 {
		c.ServiceRanges = []string{DefaultServiceRange}
	}
	if c.ClusterDomain == "" {
		c.ClusterDomain = DefaultClusterDomain
	}
}
