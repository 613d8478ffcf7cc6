package listen_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	"github.com/streamhouse/streamhouse/serve/listen"
)

// certificate makes a self-signed certificate for a name that is not this machine's, as in production.
func certificate(t *testing.T, name string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, content := range map[string][]byte{
		certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encodedKey}),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return certFile, keyFile, pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	const name = "controlplane.example.com"
	certFile, keyFile, pool := certificate(t, name)
	f := serve(t, topics{get: func(context.Context, *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
		return &controlplanev1.GetTopicResponse{Topic: &controlplanev1.Topic{Name: "a"}}, nil
	}}, agents{}, func(o *listen.Options) { o.Config.TLSCert, o.Config.TLSKey = certFile, keyFile })
	for protocol, options := range protocols {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		authorise := func(next connect.ClientFunc) connect.ClientFunc {
			return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
				if info, ok := connect.CallInfoForClientContext(ctx); ok {
					info.RequestHeader().Set("Authorization", "Bearer "+f.keys.admin.Reveal())
				}
				return next(ctx, spec)
			}
		}
		api := controlplanev1connect.NewTopicServiceClient(
			connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, f.URL(), options...), authorise))
		if got, err := api.GetTopic(t.Context(), &controlplanev1.GetTopicRequest{Name: "a"}); err != nil || got.GetTopic().GetName() != "a" {
			t.Errorf("%s: got %v, %v", protocol, got, err)
		}
	}
	own := listen.Config{Listen: f.Addr().String(), TLSCert: certFile, TLSKey: keyFile}
	if err := listen.Healthcheck(t.Context(), own); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	own.TLSCert, own.TLSKey, _ = certificate(t, name)
	if err := listen.Healthcheck(t.Context(), own); err == nil {
		t.Error("another listener passed for this one")
	}
}
