#!/bin/bash
# Builds the book in target/guide, with mdbook, which is installed with cargo if it is missing.
set -euo pipefail

docs=$(dirname "$(readlink -f "$0")")
root=$(dirname "$docs")
book=$root/target/guide

if ! command -v mdbook >/dev/null; then
    echo 'guide: building mdbook (cargo install, some minutes)'
    cargo install --locked --quiet mdbook
fi
mdbook build "$docs"
rm "$book/book.toml" "$book/build.sh"

# The pages also lead to files of the source tree: these go along.
mkdir -p "$book/source"
for name in README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE-MIT LICENSE-APACHE examples runner setup; do
    cp -r "$root/$name" "$book/source/"
done
# A link from docs/ or below it to such a file has one `../` too many for the book; mdbook also
# takes every Markdown file for a page.
outside='(README|CHANGELOG|CONTRIBUTING|SECURITY)\.html|examples/[^"]*|runner/[^"]*|setup/[^"]*'
find "$book" -name '*.html' -exec sed -Ei \
    -e "s#href=\"\\.\\./((\\.\\./)*)($outside)\"#href=\"\\1source/\\3\"#g" \
    -e 's#(href="[^"]*source/(README|CHANGELOG|CONTRIBUTING|SECURITY)\.)html"#\1md"#g' {} +
echo "guide: $book/index.html"
