"use strict";
(() => {
  const SHOWN = 30;
  const {lists} = JSON.parse(document.getElementById("words").textContent);
  const query = document.getElementById("query");
  const found = document.getElementById("found");
  const results = document.getElementById("results");
  const hint = found.textContent;
  const several = lists.length > 1;
  const number = new Intl.NumberFormat("en");

  const normalise = (typed) =>
    typed
      .normalize("NFKC")
      .trim()
      .toLowerCase()
      .replace(/[\u2018\u2019\u02bc]/g, "'");

  const element = (name, content, kind) => {
    const made = document.createElement(name);
    if (content !== undefined) made.textContent = content;
    if (kind) made.className = kind;
    return made;
  };

  // The typed word, then words that begin with it, then words that contain it, each by falling frequency.
  const search = (list, typed) => {
    const exact = [];
    const begin = [];
    const contain = [];
    list.words.forEach((word, index) => {
      if (word === typed) exact.push(index);
      else if (begin.length < SHOWN && word.startsWith(typed)) begin.push(index);
      else if (contain.length < SHOWN && !word.startsWith(typed) && word.includes(typed)) contain.push(index);
    });
    return {exact: exact.length > 0, indexes: [...exact, ...begin, ...contain].slice(0, SHOWN)};
  };

  const cell = (content, kind) => element("td", content, kind);

  const wordRow = (list, index, typed) => {
    const row = element("tr", undefined, list.words[index] === typed ? "exact" : "");
    const head = element("th");
    head.scope = "row";
    head.append(element("bdi", list.words[index]));
    row.append(head);
    list.ids.forEach((ids) => row.append(ids[index] < 0 ? cell("none", "none") : cell(String(ids[index]))));
    row.append(cell(number.format(list.times[index])), cell(number.format(list.images[index])));
    row.append(cell(list.ranks[index] < 0 ? "–" : number.format(list.ranks[index])));
    row.append(cell(list.scripts[list.script[index]], "text"));
    const example = cell(undefined, "text faint");
    if (list.key[index] >= 0) example.append(element("bdi", list.keys[list.key[index]]));
    if (list.dataSets.length > 1) example.append(" in ", element("bdi", list.dataSets[list.dataSet[index]]));
    row.append(example);
    return row;
  };

  const wordTable = (list, indexes, typed) => {
    const several = list.vocabularies.length > 1;
    const heads = element("tr");
    const addHead = (name, kind) => {
      const head = element("th", name, kind);
      head.scope = "col";
      heads.append(head);
      return head;
    };
    addHead("word");
    list.vocabularies.forEach((name, index) => {
      const head = addHead("class id", several ? `v${index + 1}` : "");
      if (several) head.append(element("br"), element("bdi", name));
    });
    ["times read", "images", "rank"].forEach((name) => addHead(name));
    ["script", "first image"].forEach((name) => addHead(name, "text"));
    const table = element("table");
    const top = element("thead");
    const body = element("tbody");
    top.append(heads);
    body.append(...indexes.map((index) => wordRow(list, index, typed)));
    table.append(top, body);
    const scroll = element("div", undefined, "scroll");
    scroll.append(table);
    return scroll;
  };

  const show = () => {
    const typed = normalise(query.value);
    results.replaceChildren();
    if (!typed) {
      found.textContent = hint;
      return;
    }
    let exact = false;
    let some = false;
    for (const list of lists) {
      const match = search(list, typed);
      exact ||= match.exact;
      some ||= match.indexes.length > 0;
      if (several) results.append(element("h4", `Segmented with the settings of ${list.vocabularies.join(" and ")}`));
      if (match.indexes.length) results.append(wordTable(list, match.indexes, typed));
    }
    const complete = lists.every((list) => list.complete);
    const absent = complete ? "was never read" : "is not among the words of this page: it is rarer, or was never read";
    found.textContent = exact
      ? `“${typed}” was read.`
      : `“${typed}” ${absent}${some ? ". These words contain it:" : "."}`;
  };

  const fromAddress = () => {
    const match = /^#search=(.*)$/s.exec(location.hash);
    if (!match) return;
    try {
      query.value = decodeURIComponent(match[1]);
    } catch (error) {
      if (!(error instanceof URIError)) throw error;
      query.value = match[1];
    }
    show();
  };

  query.addEventListener("input", show);
  query.addEventListener("change", () => {
    history.replaceState(null, "", query.value ? `#search=${encodeURIComponent(query.value)}` : "#");
  });
  window.addEventListener("hashchange", fromAddress);
  fromAddress();
})();
