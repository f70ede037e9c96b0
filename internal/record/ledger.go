package record

import (
	"fmt"

	"github.com/perdure/perdure/internal/execution"
)

// EncodeNotes is the value of a row of the ledger: notes about one message, oldest first. What the first says of the
// message is left out of the others.
func EncodeNotes(notes []execution.Note) []byte {
	row := make([]execution.Note, len(notes))
	copy(row, notes)
	for i := 1; i < len(row); i++ {
		row[i].ID = ""
		if row[i].Name == row[0].Name {
			row[i].Name = ""
		}
	}
	return marshal(row)
}

// DecodeNotes is the inverse of EncodeNotes.
func DecodeNotes(value []byte) ([]execution.Note, error) {
	var row []execution.Note
	if err := decoder.Unmarshal(value, &row); err != nil {
		return nil, fmt.Errorf("record: row of the ledger: %w", err)
	}
	for i := 1; i < len(row); i++ {
		row[i].ID = row[0].ID
		if row[i].Name == "" {
			row[i].Name = row[0].Name
		}
	}
	return row, nil
}
