"""Questions about the library's own documents: given by the user, made by rule, or by a model behind an endpoint."""

from openbook.questions.build import Built, build
from openbook.questions.divide import split
from openbook.questions.given import Cases, Given, read
from openbook.questions.locate import locate
from openbook.questions.review import Review, review

__all__ = ["Built", "Cases", "Given", "Review", "build", "locate", "read", "review", "split"]
