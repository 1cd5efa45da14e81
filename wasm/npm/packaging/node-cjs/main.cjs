const { connect } = require("webtun");

import("./support/node.js").then(({ report }) => report(connect));
