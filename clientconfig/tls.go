package clientconfig

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSConfig is what the profile says about TLS, with certificates loaded; nil means no TLS. TLS is on when the profile
// has a TLS part that is not disabled, or has an API key and no TLS part: a key is not sent in the clear by accident.
func (p *Profile) TLSConfig() (*tls.Config, error) {
	t := p.TLS
	switch {
	case t == nil && p.APIKey == "", t != nil && t.Disabled:
		return nil, nil
	case t == nil:
		t = &TLS{}
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.DisableHostVerification}
	if err := t.addClientCert(c); err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	if err := t.addServerCA(c); err != nil {
		return nil, fmt.Errorf("server CA certificate: %w", err)
	}
	return c, nil
}

func (t *TLS) addClientCert(c *tls.Config) error {
	cert, err := pem(t.ClientCertPath, t.ClientCertData)
	if err != nil {
		return err
	}
	key, err := pem(t.ClientKeyPath, t.ClientKeyData)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	switch {
	case cert == nil && key == nil:
		return nil
	case cert == nil:
		return errors.New("there is a key without a certificate")
	case key == nil:
		return errors.New("there is a certificate without a key")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	c.Certificates = []tls.Certificate{pair}
	return nil
}

func (t *TLS) addServerCA(c *tls.Config) error {
	ca, err := pem(t.ServerCACertPath, t.ServerCACertData)
	if err != nil || ca == nil {
		return err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(ca) {
		return errors.New("no certificate in it")
	}
	return nil
}

// pem is the data, or what the file holds; nil when neither is given.
func pem(path string, data []byte) ([]byte, error) {
	switch {
	case path != "" && len(data) > 0:
		return nil, errors.New("both a path and data are given")
	case path == "":
		return data, nil
	}
	b, err := os.ReadFile(path)
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}
