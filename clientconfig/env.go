package clientconfig

import (
	"maps"
	"slices"
	"strings"
)

const metaPrefix = "TEMPORAL_GRPC_META_"

func (o *Options) readEnv(p *Profile) {
	o.str("TEMPORAL_ADDRESS", &p.Address)
	o.str("TEMPORAL_NAMESPACE", &p.Namespace)
	o.str("TEMPORAL_API_KEY", &p.APIKey)
	o.str("TEMPORAL_CLIENT_AUTHORITY", &p.Authority)
	o.readTLS(p)
	o.readCodec(p)
	o.readMeta(p)
}

// readTLS makes a TLS part as soon as one of its variables is set.
func (o *Options) readTLS(p *Profile) {
	t := p.TLS
	if t == nil {
		t = &TLS{}
	}
	enabled := !t.Disabled
	set := []bool{
		o.boolean("TEMPORAL_TLS", &enabled),
		o.str("TEMPORAL_TLS_CLIENT_CERT_PATH", &t.ClientCertPath),
		o.data("TEMPORAL_TLS_CLIENT_CERT_DATA", &t.ClientCertData),
		o.str("TEMPORAL_TLS_CLIENT_KEY_PATH", &t.ClientKeyPath),
		o.data("TEMPORAL_TLS_CLIENT_KEY_DATA", &t.ClientKeyData),
		o.str("TEMPORAL_TLS_SERVER_CA_CERT_PATH", &t.ServerCACertPath),
		o.data("TEMPORAL_TLS_SERVER_CA_CERT_DATA", &t.ServerCACertData),
		o.str("TEMPORAL_TLS_SERVER_NAME", &t.ServerName),
		o.boolean("TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", &t.DisableHostVerification),
	}
	t.Disabled = !enabled
	if slices.Contains(set, true) {
		p.TLS = t
	}
}

func (o *Options) readCodec(p *Profile) {
	c := p.Codec
	if c == nil {
		c = &Codec{}
	}
	endpoint, auth := o.str("TEMPORAL_CODEC_ENDPOINT", &c.Endpoint), o.str("TEMPORAL_CODEC_AUTH", &c.Auth)
	if endpoint || auth {
		p.Codec = c
	}
}

// readMeta sets the headers that variables name; an empty variable takes a header away.
func (o *Options) readMeta(p *Profile) {
	for _, name := range o.metaVariables(p) {
		v, ok := o.LookupEnv(name)
		if !ok {
			continue
		}
		header := headerName(strings.TrimPrefix(name, metaPrefix))
		switch {
		case v == "":
			delete(p.GRPCMeta, header)
		case p.GRPCMeta == nil:
			p.GRPCMeta = map[string]string{header: v}
		default:
			p.GRPCMeta[header] = v
		}
	}
}

// metaVariables are the variables that may name headers, in a fixed order.
func (o *Options) metaVariables(p *Profile) []string {
	names := map[string]bool{}
	for header := range p.GRPCMeta {
		names[metaPrefix+strings.ToUpper(strings.ReplaceAll(header, "-", "_"))] = true
	}
	if o.Environ != nil {
		for _, entry := range o.Environ() {
			name, _, _ := strings.Cut(entry, "=")
			if len(name) > len(metaPrefix) && strings.HasPrefix(name, metaPrefix) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (o *Options) str(name string, into *string) bool {
	v, ok := o.LookupEnv(name)
	if ok {
		*into = v
	}
	return ok
}

func (o *Options) data(name string, into *[]byte) bool {
	v, ok := o.LookupEnv(name)
	if ok {
		*into = bytesOf(v)
	}
	return ok
}

// boolean knows 1, 0, true and false in any case, as the official SDKs do. Anything else is as good as unset.
func (o *Options) boolean(name string, into *bool) bool {
	v, _ := o.LookupEnv(name)
	switch strings.ToLower(v) {
	case "1", "true":
		*into = true
	case "0", "false":
		*into = false
	default:
		return false
	}
	return true
}
