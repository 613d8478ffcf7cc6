package setting

import (
	"errors"
	"fmt"
	"slices"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// Connection is what is needed to speak with a cluster.
type Connection struct {
	Server, Agent []string
	APIKey        string
}

// errNowhere says that nobody said where the cluster is.
var errNowhere = errors.New("no cluster is known: run `streamhouse dev` in this folder, " +
	"or pass --server, --agent and --api-key (STREAMHOUSE_SERVER, STREAMHOUSE_AGENT, STREAMHOUSE_API_KEY)")

// Connection adds what a running dev says to what was given. Its key goes only to its own servers.
func (s Settings) Connection() (Connection, error) {
	c := Connection{Server: s.Server, Agent: s.Agent, APIKey: s.APIKey}
	if len(c.Server) > 0 && len(c.Agent) > 0 && c.APIKey != "" {
		return c, nil
	}
	cluster, found, err := s.cluster()
	if err != nil {
		return c, err
	}
	if !found {
		if len(c.Server) == 0 && len(c.Agent) == 0 {
			return c, errNowhere
		}
		return c, nil
	}
	if len(s.Server) == 0 && len(s.Agent) == 0 || isIn(cluster, s.Server, s.Agent) {
		c.complete(cluster)
	}
	return c, nil
}

// Dev is the running dev that Connection speaks of; false: it speaks of another cluster, or there is none.
func (s Settings) Dev() (datadir.Cluster, bool, error) {
	cluster, found, err := s.cluster()
	if err != nil || !found || (len(s.Server)+len(s.Agent) > 0 && !isIn(cluster, s.Server, s.Agent)) {
		return datadir.Cluster{}, false, err
	}
	return cluster, true, nil
}

func (s Settings) cluster() (datadir.Cluster, bool, error) {
	dir, err := s.Dir()
	if err != nil {
		return datadir.Cluster{}, false, err
	}
	cluster, found, err := dir.ReadCluster()
	if err == nil && !found && s.DataDir != "" && len(s.Server) == 0 && len(s.Agent) == 0 {
		err = fmt.Errorf("no dev is running in %s: start it with `streamhouse dev --data-dir %s`", s.DataDir, s.DataDir)
	}
	return cluster, found, err
}

// isIn says whether all the servers are the cluster's.
func isIn(cluster datadir.Cluster, lists ...[]string) bool {
	var known []string
	for _, p := range cluster.ControlPlanes {
		known = append(known, normal(p.URL))
	}
	for _, a := range cluster.Agents {
		known = append(known, normal(a.URL))
	}
	for _, url := range slices.Concat(lists...) {
		if !slices.Contains(known, normal(url)) {
			return false
		}
	}
	return true
}

func (c *Connection) complete(cluster datadir.Cluster) {
	if len(c.Server) == 0 {
		for _, p := range cluster.ControlPlanes {
			c.Server = append(c.Server, p.URL)
		}
	}
	if len(c.Agent) == 0 {
		for _, a := range cluster.Agents {
			c.Agent = append(c.Agent, a.URL)
		}
	}
	if c.APIKey == "" {
		c.APIKey = cluster.APIKey
	}
}
