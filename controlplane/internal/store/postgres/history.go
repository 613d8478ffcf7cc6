package postgres

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/lease"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// tenurePage is how many tenures are listed where the request does not say.
const tenurePage = 100

// PartitionHistory lists a page of tenures, newest first. The token is the last epoch of the page before.
func (s *Store) PartitionHistory(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.GetPartitionHistoryRequest) (
	*controlplanev1.GetPartitionHistoryResponse, error,
) {
	below, err := belowEpoch(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := int(request.GetPageSize())
	if size == 0 {
		size = tenurePage
	}
	var rows []db.ListTenuresRow
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		topic, err := getTopic(ctx, q, agentGroup, request.GetTopic())
		if err != nil {
			return err
		}
		if _, err := findLease(ctx, q, topic.TopicID, topic.Name, request.GetPartition()); err != nil {
			return err
		}
		rows, err = q.ListTenures(ctx, db.ListTenuresParams{
			TopicID: topic.TopicID, Partition: request.GetPartition(), BelowEpoch: below, Page: int32(size) + 1, // one more tells whether there is more
		})
		if err != nil {
			return fmt.Errorf("list tenures: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	response := &controlplanev1.GetPartitionHistoryResponse{}
	if len(rows) > size {
		rows = rows[:size]
		response.NextPageToken = pageToken(strconv.Itoa(int(rows[size-1].Epoch)))
	}
	for _, row := range rows {
		response.Tenures = append(response.Tenures, tenureMessage(row))
	}
	return response, nil
}

// belowEpoch is where the page begins: below every epoch that has been listed.
func belowEpoch(token string) (int32, error) {
	last, err := parseToken(token)
	if err != nil || last == "" {
		return math.MaxInt32, err
	}
	epoch, err := strconv.ParseInt(last, 10, 32)
	if err != nil {
		return 0, refuseToken()
	}
	return int32(epoch), nil
}

func tenureMessage(row db.ListTenuresRow) *controlplanev1.Tenure {
	tenure := &controlplanev1.Tenure{
		Epoch: row.Epoch, AgentId: row.AgentID, Zone: row.Zone, SessionId: row.SessionID.String(), FirstOffset: row.FirstOffset,
		StartedAt: timestamppb.New(row.StartedAt), EndReason: text(row.EndReason),
	}
	switch ended, session := row.EndedAt, row.SessionEndedAt; {
	case ended == nil && session == nil:
		return tenure
	case ended == nil: // nobody has led since, so that nobody has written it down
		tenure.EndReason = lease.EndSessionEnded
		tenure.EndedAt = timestamppb.New(*session)
	default:
		tenure.EndedAt = timestamppb.New(earlier(*ended, session))
	}
	return tenure
}

// earlier: a tenure lasted no longer than its session, whenever its end was written down.
func earlier(ended time.Time, session *time.Time) time.Time {
	if session != nil && session.Before(ended) {
		return *session
	}
	return ended
}
