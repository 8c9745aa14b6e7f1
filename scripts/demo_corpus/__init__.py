"""The text the demo model learns, and the code that turns it into conversations.

The hand-written text lies in the `.toml` files: `topics_*.toml` (questions and answers), `frames.toml`
(general ways to ask), `memory.toml` (telling and asking for a name or a colour) and `prose_*.toml` (plain
paragraphs). The modules read it:

    phrasing       patterns such as "{what is|what's} a GGUF" and the noise of real typing
    topics         the questions and answers; training phrasings apart from held-out ones
    memory         made-up names and colours, and conversations that need them again
    conversations  mixes all of it into an endless, seeded stream
    prose          plain paragraphs for the base of the language
    persona        the pirate's way of saying the same facts
    encoding       the tokenizer, token ids and batches
"""
