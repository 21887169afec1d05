"""Plain text as token sequences, for masked language modelling."""

from __future__ import annotations

from adapter_stilts.heads.base import Columns, Encoding, Features, Head, template


class _Text(Head):
    name = "text"
    columns = {"id": "text", "text": "text"}

    def encode(self, examples: Columns, how: Encoding) -> Features:
        """Every line as `<s> line </s>`; a long one becomes several.

        None of them is a single piece, which nothing would tell.

        Returns:
            Columns `input_ids`, `length` and `example`.
        """
        special = template(how.tokenizer, pair=False)
        room = how.max_length - special.size
        encoded = how.tokenizer(list(examples["text"]), add_special_tokens=False, verbose=False)
        features: Features = {"input_ids": [], "length": [], "example": []}
        for row, pieces in enumerate(encoded["input_ids"]):
            for start in range(0, len(pieces), room):
                window = pieces[start : start + room]
                if len(window) < 2:  # nothing to tell a lone token by
                    continue
                ids = special.around(window)
                features["input_ids"].append(ids)
                features["length"].append(len(ids))
                features["example"].append(row)
        return features


HEAD = _Text()
