# SPDX-License-Identifier: GPL-2.0-or-later
"""The shop's customer: asks the frontend by its service name, N times. Prints what it asked, one line each."""
import sys
import urllib.error
import urllib.request

name, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    for path in ("/", f"/api/items/{number}", "/api/items/none"):
        try:
            with urllib.request.urlopen(f"http://{name}{path}", timeout=20) as answer:
                answer.read()
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        print(path, status, flush=True)
