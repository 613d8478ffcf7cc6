package client

import (
	"encoding/binary"
	"math"
)

// partitionOf is where Kafka's default partitioner, and an agent, put a key: murmur2 over the number of partitions.
// Requires: partitions > 0.
func partitionOf(key []byte, partitions int32) int32 {
	return int32(murmur2(key)&math.MaxInt32) % partitions
}

// murmur2 is MurmurHash2 of 32 bits with the seed that Kafka uses.
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		mix  = 0x5bd1e995
		turn = 24
	)
	h := uint32(seed) ^ uint32(len(data))
	for len(data) >= 4 {
		k := binary.LittleEndian.Uint32(data) * mix
		k = (k ^ k>>turn) * mix
		h = h*mix ^ k
		data = data[4:]
	}
	for i, b := range data {
		h ^= uint32(b) << (8 * i)
	}
	if len(data) > 0 {
		h *= mix
	}
	h = (h ^ h>>13) * mix
	return h ^ h>>15
}
