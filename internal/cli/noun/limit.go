package noun

import (
	"fmt"
	"strconv"
)

// maxLimit is what the schemas allow.
const maxLimit = 10000

// Limit is a flag that says how many there may be. Without it there is no limit.
type Limit struct {
	value *int32
}

// Value is nil when the flag was not given.
func (l *Limit) Value() *int32 { return l.value }

func (l *Limit) String() string {
	if l.value == nil {
		return ""
	}
	return strconv.Itoa(int(*l.value))
}

// Type is what the help shows as the flag's value.
func (l *Limit) Type() string { return "number" }

// Set takes a number.
func (l *Limit) Set(text string) error {
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not a number; without the flag there is no limit", text)
	}
	if number < 0 || number > maxLimit {
		return fmt.Errorf("a limit is from 0 to %d; without the flag there is none", maxLimit)
	}
	l.value = new(int32(number))
	return nil
}
