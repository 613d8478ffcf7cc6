package recovery

// seen remembers object ids: a bit each, in pages, since they are numbered by a sequence. The zero value has seen none.
type seen struct{ pages map[int64]*[pageWords]uint64 }

const (
	pageWords = 512
	wordBits  = 64
	pageBits  = pageWords * wordBits
)

func (s *seen) add(id int64) {
	if s.pages == nil {
		s.pages = map[int64]*[pageWords]uint64{}
	}
	page := s.pages[id/pageBits]
	if page == nil {
		page = &[pageWords]uint64{}
		s.pages[id/pageBits] = page
	}
	page[id%pageBits/wordBits] |= 1 << (id % wordBits)
}

func (s *seen) has(id int64) bool {
	page := s.pages[id/pageBits]
	return page != nil && page[id%pageBits/wordBits]&(1<<(id%wordBits)) != 0
}
