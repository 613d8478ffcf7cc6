package lease

import "fmt"

// tenureBits are the lower bits of an epoch, which count tenures; the catalog's incarnation is above them.
const tenureBits = 23

// Floor is the epoch below the first tenure of an incarnation, and above every tenure of earlier ones.
func Floor(incarnation int32) int32 { return incarnation << tenureBits }

// NextEpoch is the epoch of the tenure after this one: incarnation * 2^23 + tenure. It is above every epoch of this and of all earlier
// incarnations. An error: the tenures of this incarnation are used up, after more than eight million.
func NextEpoch(epoch, incarnation int32) (int32, error) {
	next := max(int64(epoch)+1, int64(incarnation)<<tenureBits+1)
	if next>>tenureBits > int64(incarnation) {
		return 0, fmt.Errorf("epoch %d has no successor in incarnation %d", epoch, incarnation)
	}
	return int32(next), nil
}
