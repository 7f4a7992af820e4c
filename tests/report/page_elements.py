"""What a page holds, for tests."""

from html.parser import HTMLParser


class Elements(HTMLParser):
    """The elements of a page, their attributes, and the words between them."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words, self.within = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.within.append(tag)

    def handle_endtag(self, tag):
        if tag in self.within:
            del self.within[len(self.within) - 1 - self.within[::-1].index(tag) :]
        self.words += " "

    def handle_data(self, data):
        if not {"script", "style"} & set(self.within):
            self.words += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]
