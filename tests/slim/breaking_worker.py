"""The slimming worker with a rewrite that breaks the model: the proof must notice."""

from litemill.flatbuffer.reader import parse_model
from litemill.process.isolation import serve
from litemill.slim import worker as slim_worker
from litemill.slim.sharing import pack_shared


def break_model(data: bytes, keep: object) -> bytes:
    """Take the last op away."""
    model = parse_model(data, where="")
    model.subgraphs[0].operators.pop()
    return pack_shared(model)


if __name__ == "__main__":
    slim_worker.slim = break_model
    serve(slim_worker.slim_one)
