#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Prints, as deb822 entries, the source packages' side of the machine's own apt sources, in either of the two forms
# that sources.list(5) knows. Nothing of the machine's configuration is changed.
# usage: source-list.sh [FOLDER]   (default /etc/apt)
set -euo pipefail
folder=${1:-/etc/apt}

# deb [ option=value ... ] URI SUITE COMPONENT...
one_line='
/^[ \t]*deb[ \t]/ {
    sub(/#.*/, "")
    options = ""
    if (match($0, /\[[^]]*\]/)) {
        options = substr($0, RSTART + 1, RLENGTH - 2)
        $0 = substr($0, 1, RSTART - 1) substr($0, RSTART + RLENGTH)
    }
    print "Types: deb-src\nURIs: " $2 "\nSuites: " $3
    if (NF > 3) {
        printf "Components:"
        for (i = 4; i <= NF; i++)
            printf " %s", $i
        print ""
    }
    count = split(options, option, /[ \t]+/)
    for (i = 1; i <= count; i++)
        if (sub(/^signed-by=/, "", option[i]))
            print "Signed-By: " option[i]
        else if (sub(/^trusted=/, "", option[i]))
            print "Trusted: " option[i]
    print ""
}'

# Stanzas as they are, but for the type and for what only concerns binary packages; entries switched off stay so.
stanzas='
{
    stanza = ""
    lines = split($0, line, "\n")
    binary = 0
    for (i = 1; i <= lines; i++) {
        if (line[i] ~ /^[ \t]*#/ || line[i] ~ /^Architectures:/)
            continue
        if (line[i] ~ /^Types:/) {
            binary = line[i] ~ /[ \t:]deb([ \t]|$)/
            line[i] = "Types: deb-src"
        }
        stanza = stanza line[i] "\n"
    }
    if (binary)
        print stanza
}'

for file in "$folder"/sources.list "$folder"/sources.list.d/*.list; do
    [ ! -f "$file" ] || awk "$one_line" "$file"
done
for file in "$folder"/sources.list.d/*.sources; do
    [ ! -f "$file" ] || awk -v RS= "$stanzas" "$file"
done
