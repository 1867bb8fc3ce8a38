package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate returns every error of a defaulted configuration, each with its path, the value and the remedy.
func (c *ControlPlane) Validate() field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, c.validateIdentity()...)
	errs = append(errs, c.validateListener()...)
	if !filepath.IsAbs(c.PKIDirectory) {
		errs = append(errs, field.Invalid(field.NewPath("pkiDirectory"), c.PKIDirectory, "must be an absolute path"))
	}
	errs = append(errs, c.Store.validate(field.NewPath("store"))...)
	errs = append(errs, c.validateNetwork()...)
	if c.Doors != nil {
		errs = append(errs, c.Doors.validate(field.NewPath("doors"))...)
	}
	return errs
}

func (c *ControlPlane) validateIdentity() field.ErrorList {
	var errs field.ErrorList
	if c.APIVersion != APIVersion {
		errs = append(errs, field.NotSupported(field.NewPath("apiVersion"), c.APIVersion, []string{APIVersion}))
	}
	if c.Kind != Kind {
		errs = append(errs, field.NotSupported(field.NewPath("kind"), c.Kind, []string{Kind}))
	}
	namespace, name, found := strings.Cut(c.Name, "/")
	switch {
	case c.Name == "":
		errs = append(errs, field.Required(field.NewPath("name"), "set <namespace>/<name> of the VirtualCluster"))
	case !found || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Label(name)) > 0:
		errs = append(errs, field.Invalid(field.NewPath("name"), c.Name, "must be <namespace>/<name>, both DNS labels"))
	}
	if c.UID == "" {
		errs = append(errs, field.Required(field.NewPath("uid"), "set the UID of the VirtualCluster"))
	} else if problems := validation.IsValidLabelValue(c.UID); len(problems) > 0 {
		errs = append(errs, field.Invalid(field.NewPath("uid"), c.UID, strings.Join(problems, ", ")))
	}
	return errs
}

func (c *ControlPlane) validateListener() field.ErrorList {
	var errs field.ErrorList
	if _, err := netip.ParseAddr(c.BindAddress); err != nil {
		errs = append(errs, field.Invalid(field.NewPath("bindAddress"), c.BindAddress, "must be an IP address"))
	}
	if c.Port < 1 || c.Port > 65535 {
		errs = append(errs, field.Invalid(field.NewPath("port"), c.Port, "must be between 1 and 65535"))
	}
	return errs
}

func (s *Store) validate(path *field.Path) field.ErrorList {
	switch s.Type {
	case "":
		return field.ErrorList{field.Required(path.Child("type"), "use sqlite or memory")}
	case StoreMemory:
		if s.Path != "" {
			return field.ErrorList{field.Forbidden(path.Child("path"), "the memory store has no file: remove the path or use sqlite")}
		}
	case StoreSQLite:
		if !filepath.IsAbs(s.Path) {
			return field.ErrorList{field.Invalid(path.Child("path"), s.Path, "must be an absolute path")}
		}
		if strings.ContainsAny(s.Path, "?%#") {
			return field.ErrorList{field.Invalid(path.Child("path"), s.Path, "must not contain ?, % or #")}
		}
	default:
		return field.ErrorList{field.NotSupported(path.Child("type"), s.Type, []StoreType{StoreSQLite, StoreMemory})}
	}
	return nil
}

func (c *ControlPlane) validateNetwork() field.ErrorList {
	var errs field.ErrorList
	ranges := c.validateRanges(&errs)
	path := field.NewPath("serviceAddress")
	address, err := netip.ParseAddr(c.ServiceAddress)
	switch {
	case c.ServiceAddress == "":
		errs = append(errs, field.Required(path, "set the ClusterIP of the control plane's host Service"))
	case err != nil:
		errs = append(errs, field.Invalid(path, c.ServiceAddress, "must be an IP address"))
	case len(ranges) > 0 && !ranges[0].Contains(address):
		errs = append(errs, field.Invalid(path, c.ServiceAddress, "must lie in the first of serviceRanges"))
	}
	if problems := validation.IsDNS1123Subdomain(c.ClusterDomain); len(problems) > 0 {
		errs = append(errs, field.Invalid(field.NewPath("clusterDomain"), c.ClusterDomain, strings.Join(problems, ", ")))
	}
	return errs
}

func (c *ControlPlane) validateRanges(errs *field.ErrorList) []netip.Prefix {
	path := field.NewPath("serviceRanges")
	if len(c.ServiceRanges) > 2 {
		*errs = append(*errs, field.TooMany(path, len(c.ServiceRanges), 2))
	}
	var ranges []netip.Prefix
	for i, text := range c.ServiceRanges {
		prefix, err := netip.ParsePrefix(text)
		switch {
		case err != nil || prefix != prefix.Masked():
			*errs = append(*errs, field.Invalid(path.Index(i), text, "must be a range such as 10.96.0.0/16, without host bits"))
			continue
		case prefix.Addr().Is6() && prefix.Bits() < 64:
			*errs = append(*errs, field.Invalid(path.Index(i), text, "an IPv6 range must be /64 or narrower: Kubernetes cannot allocate from a wider one"))
		case len(ranges) == 1 && ranges[0].Addr().Is4() == prefix.Addr().Is4():
			*errs = append(*errs, field.Invalid(path.Index(i), text, "must be of the other IP family than the first"))
		}
		ranges = append(ranges, prefix)
	}
	return ranges
}

func (d *Doors) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, door := range []struct{ name, address string }{
		{"kubeletAddress", d.KubeletAddress},
		{"serviceAddress", d.ServiceAddress},
	} {
		host, port, err := net.SplitHostPort(door.address)
		number, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || portErr != nil || number == 0 {
			errs = append(errs, field.Invalid(path.Child(door.name), door.address, "must be <host>:<port>"))
		}
	}
	if problems := validation.IsDNS1123Subdomain(d.ServerName); len(problems) > 0 {
		errs = append(errs, field.Invalid(path.Child("serverName"), d.ServerName, strings.Join(problems, ", ")))
	}
	return errs
}
