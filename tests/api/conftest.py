from tests.support.fixtures import make_model, tokenizer_path

__all__ = ["make_model", "tokenizer_path"]
