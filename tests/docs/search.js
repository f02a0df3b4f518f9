// node search.js SITE < queries, one a line: the places of the first three results of each, as JSON, one line a query.
// It runs the script with which the site's pages search, on the index that browsers load.
const fs = require("fs"), path = require("path"), vm = require("vm");

const site = process.argv[2];
const folder = path.join(site, "assets", "javascripts", "workers");
const script = fs.readdirSync(folder).find(name => /^search\..*\.js$/.test(name));
const index = JSON.parse(fs.readFileSync(path.join(site, "search", "search_index.json"), "utf8"));

let receive, answer;
const worker = {
  console, setTimeout,
  addEventListener: (kind, listener) => { if (kind === "message") receive = listener; },
  postMessage: message => answer(message),
};
worker.self = worker.globalThis = worker;
vm.runInNewContext(fs.readFileSync(path.join(folder, script), "utf8"), worker);
const send = (type, data) => new Promise(resolve => { answer = resolve; receive({ data: { type, data } }); });

(async () => {
  await send(0, { config: index.config, docs: index.docs, options: { suggest: true } });
  for (const query of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
    const { data } = await send(2, query);
    console.log(JSON.stringify(data.items.slice(0, 3).map(results => results[0].location)));
  }
})();
