// SPDX-License-Identifier: GPL-2.0-or-later
// As server.py.
'use strict';
const fs = require('fs');
const https = require('https');

const [certificate, key, port] = process.argv.slice(2);
https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, (request, response) => {
  response.setHeader('Content-Type', 'text/plain');
  response.end(`you asked for ${request.url}\n`);
}).listen(Number(port));
