package build

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Roots are Mozilla's roots as the Go project publishes them, in PEM, and then the extra ones. go.mod says of which day they are: no file of the
// machine that builds gets into an image. Roots that Mozilla trusts with a reservation, which a file of certificates cannot express, are left out.
func Roots(extra []byte) ([]byte, error) {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	if err := checkExtra(extra); err != nil {
		return nil, err
	}
	b.Write(extra)
	return b.Bytes(), nil
}

// checkExtra refuses what is not certificates through and through: nobody would miss a root before it is needed.
func checkExtra(extra []byte) error {
	for rest := bytes.TrimSpace(extra); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return errors.New("extra roots: not certificates in PEM")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("extra roots: %w", err)
		}
		rest = after
	}
	return nil
}
