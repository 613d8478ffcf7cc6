// Package zone finds out in which availability zone this process runs, where nobody has said so: from the metadata of its ECS task, else of its EC2
// instance. Nothing here decides what a zone is for.
//
// Each source is asked only where it can be there, and for a moment: a process that runs elsewhere must not wait for it at its start.
//
// Read: zone.go.
package zone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

// Default is the zone of a process that nobody knows to be in another.
const Default = "default"

const (
	askTimeout     = time.Second
	maxAnswerBytes = 1 << 20
	tokenSeconds   = "60"
)

// Sources are where the zone may be asked for.
type Sources struct {
	// Task is the base URL of the ECS task's metadata; empty: this is no ECS task.
	Task string
	// Instance is the base URL of the EC2 instance's metadata (version 2, with tokens); empty: this is no EC2 instance.
	Instance string
}

// Here lists the sources that this process can have.
func Here() Sources {
	s := Sources{Task: os.Getenv("ECS_CONTAINER_METADATA_URI_V4")}
	if !strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") && onEC2("/sys") {
		s.Instance = "http://169.254.169.254"
	}
	return s
}

// onEC2 looks at what the hypervisor tells of the machine; sys is where sysfs is mounted.
func onEC2(sys string) bool {
	for file, prefix := range map[string]string{
		"/class/dmi/id/sys_vendor": "Amazon EC2", "/class/dmi/id/board_asset_tag": "i-", "/hypervisor/uuid": "ec2",
	} {
		if content, err := os.ReadFile(sys + file); err == nil && strings.HasPrefix(string(content), prefix) {
			return true
		}
	}
	return false
}

// Find asks the sources in turn. Without any the zone is Default; an error says why a source did not answer, and comes with Default too if no other did.
func (s Sources) Find(ctx context.Context) (string, error) {
	client := &http.Client{Transport: &http.Transport{Proxy: nil}} // the metadata of this machine, not of a proxy's
	defer client.CloseIdleConnections()
	var faults []error
	if s.Task != "" {
		zone, err := ofTask(ctx, client, s.Task)
		if err == nil {
			return zone, nil
		}
		faults = append(faults, fmt.Errorf("ECS task metadata: %w", err))
	}
	if s.Instance != "" {
		zone, err := ofInstance(ctx, client, s.Instance)
		if err == nil {
			return zone, nil
		}
		faults = append(faults, fmt.Errorf("EC2 instance metadata: %w", err))
	}
	return Default, errors.Join(faults...)
}

func ofTask(ctx context.Context, client *http.Client, base string) (string, error) {
	answer, err := ask(ctx, client, http.MethodGet, base+"/task", "", "")
	if err != nil {
		return "", err
	}
	var task struct{ AvailabilityZone string }
	if err := json.Unmarshal(answer, &task); err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	return checked(task.AvailabilityZone)
}

func ofInstance(ctx context.Context, client *http.Client, base string) (string, error) {
	token, err := ask(ctx, client, http.MethodPut, base+"/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", tokenSeconds)
	if err != nil {
		return "", err
	}
	zone, err := ask(ctx, client, http.MethodGet, base+"/latest/meta-data/placement/availability-zone", "X-Aws-Ec2-Metadata-Token", string(token))
	if err != nil {
		return "", err
	}
	return checked(strings.TrimSpace(string(zone)))
}

func ask(ctx context.Context, client *http.Client, method, url, header, value string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	if header != "" {
		request.Header.Set(header, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
}

var pattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// checked takes only what can be a zone's name.
func checked(zone string) (string, error) {
	if !pattern.MatchString(zone) {
		return "", fmt.Errorf("%.100q is no zone", zone)
	}
	return zone, nil
}
