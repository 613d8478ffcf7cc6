package agent_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// A key of another agent group opens no door of an agent: not the clients', not the agents'.
func TestP7_EveryDoorAsksWhoseKeyItIs(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		ctx := s.ctx(time.Minute)
		records := dataplanev1connect.NewRecordServiceClient(s.As("staging", "http://a"))
		peers := dataplanev1connect.NewPeerServiceClient(s.As("staging", "http://a"))
		topic := s.topic
		produce := request(0, s.batch("x", 0, -1))
		doors := map[string]func() error{
			"Produce": func() error { _, err := records.Produce(ctx, produce); return err },
			"Fetch": func() error {
				_, err := records.Fetch(ctx, &dataplanev1.FetchRequest{Partitions: []*dataplanev1.FetchPartition{{
					Topic: &dataplanev1.FetchPartition_TopicName{TopicName: "orders"},
				}}})
				return err
			},
			"ListOffsets": func() error {
				_, err := records.ListOffsets(ctx, &dataplanev1.ListOffsetsRequest{})
				return err
			},
			"Consume": func() error {
				stream, err := records.Consume(ctx, &dataplanev1.ConsumeRequest{Topic: &dataplanev1.ConsumeRequest_TopicName{TopicName: "orders"}})
				if err != nil {
					return err
				}
				_, err = stream.Receive()
				return err
			},
			"GetMetadata": func() error { _, err := records.GetMetadata(ctx, &dataplanev1.GetMetadataRequest{}); return err },
			"AllocateProducerId": func() error {
				_, err := records.AllocateProducerId(ctx, &dataplanev1.AllocateProducerIdRequest{})
				return err
			},
			"ForwardProduce": func() error {
				_, err := peers.ForwardProduce(ctx, &dataplanev1.ForwardProduceRequest{Produce: proto.CloneOf(produce), Epoch: 99})
				return err
			},
			"TakeOver": func() error {
				_, err := peers.TakeOver(ctx, &dataplanev1.TakeOverRequest{Partitions: []*dataplanev1.TakeOverPartition{{
					Partition: &dataplanev1.PeerPartition{TopicId: topic[:]}, Epoch: 99,
				}}})
				return err
			},
			"ReadObject": func() error {
				_, err := peers.ReadObject(ctx, &dataplanev1.ReadObjectRequest{ObjectKey: "default/x", SizeBytes: 1})
				return err
			},
			"Notices": func() error {
				stream, err := peers.Notices(ctx)
				if err != nil {
					return err
				}
				defer func() { _ = stream.Close() }()
				_, err = stream.Receive()
				return err
			},
		}
		for _, service := range []protoreflect.ServiceDescriptor{
			dataplanev1.File_streamhouse_dataplane_v1_record_proto.Services().Get(0),
			dataplanev1.File_streamhouse_dataplane_v1_peer_proto.Services().Get(0),
		} {
			for i := range service.Methods().Len() {
				name := string(service.Methods().Get(i).Name())
				try := doors[name]
				if try == nil {
					t.Errorf("%s: nobody tried this door", name)
					continue
				}
				if r, ok := refusal.FromError(try()); !ok || r.GetReason() != refusalv1.Reason_REASON_WRONG_AGENT_GROUP {
					t.Errorf("%s: %v", name, r)
				}
			}
		}
		if got := s.Control.HighWatermark(s.part(0)); got != 0 {
			t.Errorf("%d records were written", got)
		}
	})
}
