package engine

// How long JSON is says little about what it takes once it is decoded: "{}," is three bytes, and the element of a list that it stands
// for may be a pod, with more than a thousand. A weigher tells, before a value is decoded, how many bytes of memory that takes at most,
// whatever type the value is decoded into.

const (
	// byteWeight: bytes are read into a buffer that grows, are copied on the way to the decoder, and are strings in the end.
	byteWeight = 4
	// oddByteWeight is that of a byte beyond ASCII: one that is not UTF-8 becomes three.
	oddByteWeight = 12
	// entryWeight is that of a field, which may be an entry of a map: its place there, with what maps keep free, and that of a short key.
	entryWeight = 512
	// objectWeight is that of an object, which may be a map or something that a pointer leads to.
	objectWeight = 512
	// typedElement is the weight of an element of a list: the largest that a type of Scheme has, and what a list has to spare while
	// it grows.
	typedElement = 3584
	// untypedElement is the same where objects are decoded into no type.
	untypedElement = 448

	// maxNesting is what the decoders take; what is deeper they refuse before they keep anything.
	maxNesting = 10000
)

// weigher weighs JSON, piece by piece. What is not JSON is for the decoder to say: it does before it makes anything of it.
type weigher struct {
	element   int64 // what an element of a list weighs
	depth     int
	isList    [maxNesting/64 + 1]uint64 // a bit for each depth
	inText    bool
	isEscaped bool
}

// next returns what one more byte weighs, and whether a value ends with it.
func (w *weigher) next(b byte) (weight int64, ends bool) {
	weight = byteWeight
	if b >= 0x80 {
		weight = oddByteWeight
	}
	switch {
	case w.isEscaped:
		w.isEscaped = false
	case w.inText:
		w.isEscaped, w.inText = b == '\\', b != '"'
	case b == '"':
		w.inText = true
	case b == '{':
		w.open(false)
		weight += objectWeight + entryWeight
	case b == '[':
		w.open(true)
		weight += w.element
	case b == ',':
		weight += w.more()
	case b == '}' || b == ']':
		w.depth = max(w.depth-1, 0)
		return weight, w.depth == 0
	}
	return weight, false
}

func (w *weigher) open(isList bool) {
	if w.depth++; w.depth > maxNesting {
		return
	}
	word, bit := w.depth/64, uint64(1)<<(w.depth%64)
	w.isList[word] &^= bit
	if isList {
		w.isList[word] |= bit
	}
}

// more is what comes after a comma.
func (w *weigher) more() int64 {
	if w.depth <= maxNesting && w.isList[w.depth/64]&(1<<(w.depth%64)) != 0 {
		return w.element
	}
	return entryWeight
}

// weigh weighs a piece.
func (w *weigher) weigh(piece []byte) int64 {
	var total int64
	for _, b := range piece {
		weight, _ := w.next(b)
		total += weight
	}
	return total
}
