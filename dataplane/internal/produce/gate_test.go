package produce

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestGateSharesItsBytes(t *testing.T) {
	t.Parallel()
	const most, call = 1000 * callOverhead, 10 * callOverhead
	g := NewGate(most, 4<<20)
	enterAll := func(connection string) (n int64) {
		for g.enter(connection, call) {
			n += call
		}
		return n
	}
	if got := enterAll("hot"); got != most/2 {
		t.Errorf("the first connection got %d of %d bytes, want half", got, most)
	}
	if got := enterAll("second"); got != most/4 {
		t.Errorf("the second connection got %d of %d bytes, want a quarter", got, most)
	}
	if !g.enter("small", callOverhead) {
		t.Error("there was no room for a connection that held nothing")
	}
	if g.enter("huge", most/2) {
		t.Error("more was let in than there is room for")
	}
}

func TestGateCountsWhatIsIn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const most = 1 << 20
		g := NewGate(most, most/2)
		type call struct {
			connection string
			size       int64
		}
		var in []call
		var held int64
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				length := rapid.SampledFrom([]string{"", "x", "-1", "0", "1000", "200000", "99999999"}).Draw(t, "length")
				c := call{fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "connection")), g.sizeOf(length)}
				if g.enter(c.connection, c.size) {
					in, held = append(in, c), held+c.size
				} else if held == 0 {
					t.Fatal("refused although nothing is in")
				}
			},
			"leave": func(t *rapid.T) {
				if len(in) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(in)-1).Draw(t, "call")
				g.leave(in[i].connection, in[i].size)
				held -= in[i].size
				in = append(in[:i], in[i+1:]...)
			},
			"": func(t *rapid.T) {
				if g.Held() != held || held > most || (len(in) == 0) != (len(g.by) == 0) {
					t.Fatalf("holds %d, want %d, of %d", g.Held(), held, most)
				}
			},
		})
	})
}
