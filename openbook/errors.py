"""Every error Openbook raises on purpose, in one tree.

    OpenbookError                 the sentence a person reads; the CLI exits 1
      UsageError                  the call itself is wrong; the CLI exits 2
        SettingsError             openbook.toml holds something it may not
      MissingExtra                an optional package is not installed
      ModelError                  a model cannot be found, verified or loaded
      EndpointError               a remote model server is away or refused
      ReadError                   one file cannot be turned into text
      LibraryError                the stored library refuses or is damaged
        LibraryBusy               another process owns the library
        EmbedderMismatch          the library was made with another embedder
      SourceVanished              most of a source is gone; sync refuses to delete it
      ExamplesError               training examples cannot be used
      TrainingError               a training cannot start or go on
      AdapterError                an adapter is missing, foreign or failed its checks
      ServeError                  the server cannot start, or is not reached
      PromptTooLong               the question with one passage does not fit the model's context

Messages say what happened, the value, and what to do next, in one sentence.
"""


class OpenbookError(Exception):
    """Base of all errors a user can cause or mend."""


class UsageError(OpenbookError):
    """The call is wrong as written."""


class SettingsError(UsageError):
    """A setting is unknown, out of range or contradicts another."""


class MissingExtra(OpenbookError):
    """An optional package is needed; the message holds the pip line."""


class ModelError(OpenbookError):
    """A model is unknown, not downloaded, damaged or unsupported."""


class EndpointError(OpenbookError):
    """The OpenAI-compatible server did not answer as needed."""


class ReadError(OpenbookError):
    """A file could not be read as its format; the message is the reason alone, without the path."""


class LibraryError(OpenbookError):
    """The library cannot do this, or its files are damaged."""


class LibraryBusy(LibraryError):
    """Another process owns the embedded library."""


class EmbedderMismatch(LibraryError):
    """The library's vectors come from another embedder than the one in the settings."""


class SourceVanished(OpenbookError):
    """Most documents of a source disappeared at once: an unmounted drive is likelier than a wish to delete."""


class PromptTooLong(OpenbookError):
    """The question and instructions alone exceed the model's context."""


class ExamplesError(OpenbookError):
    """Training examples cannot be used: unreadable, too few, or not what the training needs."""


class TrainingError(OpenbookError):
    """A training cannot start or go on; what it had learned so far is kept."""


class AdapterError(OpenbookError):
    """An adapter does not exist, does not belong to this model, or failed its checks."""


class CompareError(OpenbookError):
    """A comparison cannot be made, read or trusted."""


class ServeError(OpenbookError):
    """The server cannot start as asked, or cannot be reached."""
