package supervisor

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
	"github.com/streamhouse/streamhouse/cli/internal/postgres"
)

const (
	bucket = "streamhouse"
	region = "us-east-1"

	poolSize        = 16 // connections of a control plane
	spareConnection = 20 // connections to PostgreSQL for people and tests
)

func ownPID() int { return os.Getpid() }

// up starts everything, the parts that others need first. What was started when it fails is stopped by down.
func (s *Supervisor) up(ctx context.Context) error {
	state, err := s.config.Dir.ReadState()
	if err != nil {
		return err
	}
	s.state = state
	s.inventSecrets()
	if err := s.startStores(ctx); err != nil {
		return err
	}
	if err := s.startControlPlanes(ctx); err != nil {
		return err
	}
	if err := s.makeKeys(ctx); err != nil {
		return err
	}
	return s.startAgents(ctx)
}

// inventSecrets makes those that earlier runs have not left.
func (s *Supervisor) inventSecrets() {
	for _, secret := range []*string{&s.state.PostgresPassword, &s.state.S3AccessKey, &s.state.S3SecretKey} {
		if *secret == "" {
			*secret = hex.EncodeToString(random(16))
		}
	}
	if s.state.AdminKey == "" {
		s.state.AdminKey = "shk_" + base64.RawURLEncoding.EncodeToString(random(32))
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// startStores starts PostgreSQL and the S3 server, or takes those that exist.
func (s *Supervisor) startStores(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	if s.databaseURL = s.config.DatabaseURL; s.databaseURL == "" {
		server, err := s.planPostgres(ctx)
		if err != nil {
			return err
		}
		group.Go(func() error {
			if err := server.Prepare(groupCtx, s.launcher); err != nil {
				return fmt.Errorf("prepare PostgreSQL: %w", err)
			}
			return s.startNew(groupCtx, postgresPart(server))
		})
	}
	if s.s3 = s.config.S3; s.s3.Endpoint == "" {
		p, err := s.planS3(ctx)
		if err != nil {
			return err
		}
		group.Go(func() error { return s.startNew(groupCtx, p) })
	}
	if err := s.config.Dir.WriteState(s.state); err != nil {
		_ = group.Wait()
		return err
	}
	return group.Wait()
}

func (s *Supervisor) planPostgres(ctx context.Context) (*postgres.Server, error) {
	port, err := s.port(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	if s.state.PostgresDir == "" {
		if s.state.PostgresDir, err = s.placeDatabase(); err != nil {
			return nil, err
		}
	}
	server := &postgres.Server{
		Dir: s.state.PostgresDir, Port: port, Password: s.state.PostgresPassword, LogFile: s.config.Dir.Log("postgres"), Env: environment(),
		MaxConnections: spareConnection + (poolSize+4)*maxControlPlanes,
	}
	s.databaseURL = server.URL()
	return server, nil
}

func (s *Supervisor) planS3(ctx context.Context) (*part, error) {
	port, err := s.port(ctx, "s3")
	if err != nil {
		return nil, err
	}
	s.s3 = datadir.S3{
		Endpoint: "http://" + address(port), Bucket: bucket, Region: region, AccessKey: s.state.S3AccessKey, SecretKey: s.state.S3SecretKey,
	}
	return s.s3Part(port), nil
}

// port is the part's: the one that it had, unless another program has taken it.
func (s *Supervisor) port(ctx context.Context, name string) (int, error) {
	had := s.state.Ports[name]
	if had != 0 && !datadir.PortFree(ctx, had) {
		delete(s.state.Ports, name)
		s.listener.Report(fmt.Sprintf("port %d of %s is taken by another program: it gets a new one", had, name))
	}
	return s.state.Port(ctx, name, s.config.PortsFrom)
}

func (s *Supervisor) startControlPlanes(ctx context.Context) error {
	var parts []*part
	for i := range s.config.ControlPlanes {
		name := fmt.Sprintf("controlplane-%d", i+1)
		port, err := s.port(ctx, name)
		if err != nil {
			return err
		}
		parts = append(parts, s.controlPlanePart(name, port))
	}
	return s.startAll(ctx, parts)
}

// makeKeys has the control plane make the keys of the agents and of clients, unless it knows those of an earlier run.
func (s *Supervisor) makeKeys(ctx context.Context) error {
	for name, role := range map[string]client.Role{
		agentKeyName(s.config.AgentGroup): client.RoleAgent, "dev-client-" + s.config.AgentGroup: client.RoleClient,
	} {
		if _, err := s.key(ctx, name, role, s.config.AgentGroup); err != nil {
			return err
		}
	}
	return nil
}

func agentKeyName(group string) string { return "dev-agent-" + group }

// key returns the secret of a key that is valid.
func (s *Supervisor) key(ctx context.Context, name string, role client.Role, group string) (string, error) {
	sdk, err := client.New(client.WithControlPlane(s.controlPlaneURLs()...), client.WithAPIKey(s.state.AdminKey))
	if err != nil {
		return "", fmt.Errorf("make API keys: %w", err)
	}
	defer sdk.Close()
	valid, err := s.valid(ctx, sdk.Admin(), s.state.Keys[name])
	if err != nil {
		return "", err
	}
	if valid {
		return s.state.Keys[name].Secret, nil
	}
	made, secret, err := sdk.Admin().CreateKey(ctx, name, role, group)
	if err != nil {
		return "", fmt.Errorf("make the key %s: %w", name, err)
	}
	s.state.Keys[name] = datadir.Key{ID: made.ID, Secret: secret}
	return secret, s.config.Dir.WriteState(s.state)
}

func (s *Supervisor) valid(ctx context.Context, admin *client.Admin, key datadir.Key) (bool, error) {
	if key.ID == "" {
		return false, nil
	}
	known, err := admin.ListKeys(ctx)
	if err != nil {
		return false, fmt.Errorf("look at the API keys: %w", err)
	}
	for _, k := range known {
		if k.ID == key.ID {
			return k.RevokedAt.IsZero(), nil
		}
	}
	return false, nil
}

func (s *Supervisor) startAgents(ctx context.Context) error {
	var parts []*part
	for i := range s.config.AgentsPerZone {
		for _, zone := range s.config.Zones {
			name := fmt.Sprintf("agent-%s-%d", zone, i+1)
			port, err := s.port(ctx, name)
			if err != nil {
				return err
			}
			key := s.state.Keys[agentKeyName(s.config.AgentGroup)].Secret
			parts = append(parts, s.agentPart(name, zone, s.config.AgentGroup, port, key))
		}
	}
	return s.startAll(ctx, parts)
}

func (s *Supervisor) startAll(ctx context.Context, parts []*part) error {
	if err := s.config.Dir.WriteState(s.state); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range parts {
		if err := s.add(p); err != nil {
			return err
		}
		group.Go(func() error { return s.start(ctx, p) })
	}
	return group.Wait()
}

// elsewhere is where root's databases go when the account that must run the server may not enter the data dir.
const elsewhere = "/var/lib/streamhouse-dev"

// placeDatabase chooses the folder of PostgreSQL's files.
func (s *Supervisor) placeDatabase() (string, error) {
	usual := s.config.Dir.Join("postgres")
	if postgres.Reachable(usual) {
		return usual, nil
	}
	removeAbandoned(elsewhere)
	dir := filepath.Join(elsewhere, hex.EncodeToString(random(8)))
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("PostgreSQL refuses root, and its account may not enter %s, nor could another folder be made: %w", s.config.Dir.Path(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, belongsTo), []byte(s.config.Dir.Path()+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("make the database's folder: %w", err)
	}
	dir = filepath.Join(dir, "postgres")
	s.listener.Report(fmt.Sprintf("PostgreSQL refuses root, and its account may not enter %s: the database goes to %s", s.config.Dir.Path(), dir))
	return dir, nil
}

// belongsTo is the file that names the data dir which a database elsewhere belongs to.
const belongsTo = "data-dir"

// removeAbandoned removes databases whose data dir was a temporary one and is gone; others may come back.
func removeAbandoned(root string) {
	marks, _ := filepath.Glob(filepath.Join(root, "*", belongsTo)) // the pattern is well-formed
	for _, mark := range marks {
		content, err := os.ReadFile(mark)
		if err != nil {
			continue
		}
		dir := strings.TrimSpace(string(content))
		if _, err := os.Stat(dir); os.IsNotExist(err) && strings.HasPrefix(dir, os.TempDir()+string(filepath.Separator)) {
			_ = os.RemoveAll(filepath.Dir(mark)) // the next start tries again
		}
	}
}
