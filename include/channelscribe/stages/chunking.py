"""Cutting the utterances of a video into chunks that are embedded as one text."""

from collections.abc import Callable, Iterator, Sequence

from channelscribe.contracts import Chunk, Utterance, Word

CountTokens = Callable[[Sequence[str]], list[int]]
Piece = tuple[int, str, Sequence[Word], int]  # utterance index, cluster, words, tokens


def build_chunks(utterances: Sequence[Utterance], count_tokens: CountTokens, *, max_tokens: int) -> list[Chunk]:
    """Join consecutive utterances while they fit; cut one that alone is too long between its words.

    Args:
        utterances: of one video, in order.
        count_tokens: tokens of each text by the model's own tokenizer.
        max_tokens: of one chunk.

    Returns:
        Chunks that together hold every word exactly once, in order.
    """
    chunks: list[Chunk] = []
    pending: list[Piece] = []
    for piece in _pieces(utterances, count_tokens, max_tokens):
        if pending and sum(part[3] for part in pending) + piece[3] > max_tokens:
            chunks.append(_chunk(len(chunks), pending))
            pending = []
        pending.append(piece)
    if pending:
        chunks.append(_chunk(len(chunks), pending))
    return chunks


def _pieces(utterances: Sequence[Utterance], count_tokens: CountTokens, max_tokens: int) -> Iterator[Piece]:
    for utterance, total in zip(utterances, _tokens([u.text for u in utterances], count_tokens), strict=True):
        if total <= max_tokens:
            yield utterance.index, utterance.cluster, utterance.words, total
            continue
        words: list[Word] = []
        tokens = 0
        for word, n_tokens in zip(
            utterance.words, _tokens([w.text for w in utterance.words], count_tokens), strict=True
        ):
            if words and tokens + n_tokens > max_tokens:
                yield utterance.index, utterance.cluster, words, tokens
                words, tokens = [], 0
            words.append(word)
            tokens += n_tokens
        yield utterance.index, utterance.cluster, words, tokens


def _tokens(texts: Sequence[str], count_tokens: CountTokens) -> list[int]:
    """Tokens of each text wherever it stands in a chunk, so that a chunk never has more than their sum.

    No model's token begins before a blank and ends behind it. But what stands first lacks the blank that joins others
    to what comes before them, and that may cost a token or save one: "7" is one token for Qwen, " 7" two.
    """
    return list(map(max, count_tokens(texts), count_tokens([f" {text}" for text in texts])))


def _chunk(index: int, pieces: Sequence[Piece]) -> Chunk:
    words = [word for piece in pieces for word in piece[2]]
    return Chunk(
        index=index,
        first_utterance=pieces[0][0],
        last_utterance=pieces[-1][0],
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        clusters=tuple(dict.fromkeys(piece[1] for piece in pieces)),
        text=" ".join(word.text for word in words),
        n_tokens=sum(piece[3] for piece in pieces),
    )
