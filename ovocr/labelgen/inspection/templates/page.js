"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const articles = [...document.querySelectorAll("article")];
  const fold = (words) => words.normalize("NFKC").toLowerCase();
  const root = document.documentElement;

  // The searchable elements of each image, with their text.
  const parts = new Map(
    articles.map((article) => [
      article,
      [...article.querySelectorAll("h3, .facts span:first-child bdi, .tags .tag, .lines li")].map((element) => {
        const shown = element.querySelector("b, .text") ?? element;
        return {element, words: fold(shown.textContent)};
      }),
    ]),
  );

  // Scrolls the list of lines, never the page.
  const reveal = (item) => {
    const list = item?.parentElement;
    if (!list || list.scrollHeight <= list.clientHeight) return;
    const top = item.offsetTop - list.offsetTop;
    if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) {
      list.scrollTop = top - list.clientHeight / 2;
    }
  };

  // --- Filters ---
  const query = byId("query");
  const count = byId("count");
  const reset = byId("reset");
  const score = byId("score");
  const choices = ["status", "reason", "script"].map(byId).filter(Boolean);
  const field = {status: "status", reason: "reason", script: "scripts"};

  const isWanted = (article, words, below) =>
    choices.every((choice) => !choice.value || article.dataset[field[choice.id]].split(" ").includes(choice.value)) &&
    (below === null || (article.dataset.score !== "" && Number(article.dataset.score) < below)) &&
    (!words || parts.get(article).some((part) => part.words.includes(words)));

  let hits = [];
  const inSight = new Set();
  const revealHit = (article) => reveal(article.querySelector(".lines li.hit"));

  // The browser lays out only images near the window. Reading the size of any other image would force its layout.
  const sight = new IntersectionObserver((changes) =>
    changes.forEach(({target, isIntersecting}) => {
      inSight[isIntersecting ? "add" : "delete"](target);
      if (isIntersecting) revealHit(target);
    }),
  );
  articles.forEach((article) => sight.observe(article));

  // Marks the matches of the search in the lists and on the images.
  const showHits = (words) => {
    hits.forEach((element) => element.classList.remove("hit"));
    hits = [];
    if (!words) return;
    for (const article of articles.filter((each) => !each.hidden)) {
      const found = parts
        .get(article)
        .filter((part) => part.words.includes(words))
        .map((part) => part.element);
      const names = found.map(({dataset: {tag, line}}) =>
        tag ? `[data-tag="${tag}"]` : `[data-line="${line ?? ""}"]`,
      );
      const boxes = names.flatMap((name) => [...article.querySelectorAll(`polygon${name}`)]);
      hits.push(...found, ...boxes);
    }
    hits.forEach((element) => element.classList.add("hit"));
    inSight.forEach(revealHit);
  };

  const filter = () => {
    const words = fold(query.value.trim());
    const below = score && score.value !== "" && score.validity.valid ? Number(score.value) : null;
    let shown = 0;
    for (const article of articles) {
      article.hidden = !isWanted(article, words, below);
      if (article.hidden) continue;
      shown += 1;
      for (const {element} of parts.get(article)) {
        const own = element.dataset.score;
        if (own !== undefined) element.classList.toggle("low", below !== null && Number(own) < below);
      }
    }
    showHits(words);
    const all = articles.length;
    const s = all === 1 ? "" : "s";
    count.textContent = shown === all ? `${all} image${s}` : `${shown} of ${all} image${s}`;
    reset.hidden = shown === all && !words;
    byId("nothing").hidden = shown > 0;
  };

  const showAll = () => {
    for (const input of [query, score, ...choices]) if (input) input.value = "";
    filter();
  };

  [query, score, ...choices].forEach((input) => input?.addEventListener("input", filter));
  reset.addEventListener("click", () => {
    showAll();
    query.focus();
  });

  // --- Boxes ---
  const switches = ["tags", "lines", "left-out"].map((name) => [name, byId(`show-${name}`)]).filter(([, box]) => box);
  let before = [];

  const showBoxes = () => {
    switches.forEach(([name, box]) => root.classList.toggle(`show-${name}`, box.checked));
  };

  const toggleBoxes = () => {
    const shown = switches.filter(([, box]) => box.checked).map(([name]) => name);
    const next = shown.length ? [] : before.length ? before : ["tags"];
    before = shown;
    switches.forEach(([name, box]) => {
      box.checked = next.includes(name);
    });
    showBoxes();
  };

  switches.forEach(([, box]) => box.addEventListener("change", showBoxes));

  // --- Highlighting a box with its list items ---
  let lit = [];

  const unlight = () => {
    lit.forEach((element) => element.classList.remove("lit", "near", "lighting"));
    lit = [];
  };

  const mark = (article, selector, kind) => {
    const found = [...article.querySelectorAll(selector)];
    found.forEach((element) => element.classList.add(kind));
    lit.push(...found);
  };

  const light = (from) => {
    unlight();
    const at = from.closest?.("[data-tag], [data-left-out], [data-line]");
    const article = at?.closest("article");
    if (!article) return;
    const {tag, leftOut} = at.dataset;
    const lines = (at.dataset.line ?? at.dataset.of ?? at.closest("[data-line]")?.dataset.line)?.split(" ") ?? [];
    if (tag !== undefined) mark(article, `[data-tag="${tag}"]`, "lit");
    if (leftOut !== undefined) mark(article, `[data-left-out="${leftOut}"]`, "lit");
    lines.forEach((line) => mark(article, `[data-line="${line}"]`, "lit"));
    if (tag === undefined && leftOut === undefined) mark(article, `.tag[data-of~="${lines[0]}"]`, "near");
    mark(article, "svg", "lighting");
    if (!at.closest(".lines")) reveal(article.querySelector(".lines li.lit"));
  };

  document.addEventListener("pointerover", (event) => light(event.target));
  document.addEventListener("focusin", (event) => light(event.target));
  document.addEventListener("focusout", unlight);
  document.addEventListener("click", ({target}) => {
    target.closest?.("button.tag, .lines li")?.focus({preventScroll: true});
  });

  // --- Full-size images ---
  document.querySelectorAll(".zoom").forEach((button) => {
    const article = button.closest("article");
    const image = article.querySelector("img");
    const isSmaller = () => image.clientWidth < image.naturalWidth || article.classList.contains("large");
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", article.classList.toggle("large"));
    });
    new ResizeObserver(() => {
      button.hidden = !isSmaller();
    }).observe(image);
  });

  // --- Keys ---
  // Tab stops once per list. Arrow keys move inside the list.
  const step = (item, by) => {
    const items = [...item.closest(".tags, .lines").querySelectorAll("[tabindex]")];
    const next = items[Math.max(0, Math.min(items.length - 1, items.indexOf(item) + by))];
    items.forEach((each) => {
      each.tabIndex = each === next ? 0 : -1;
    });
    next.focus();
  };

  const go = (by) => {
    const shown = articles.filter((article) => !article.hidden);
    if (!shown.length) return;
    const focused = document.activeElement?.closest("article");
    const edge = (parseFloat(getComputedStyle(root).getPropertyValue("--bar")) || 0) + 20;
    const current =
      focused && !focused.hidden
        ? shown.indexOf(focused)
        : shown.findLastIndex((article) => article.getBoundingClientRect().top < edge);
    const next = shown[Math.max(0, Math.min(shown.length - 1, current + by))];
    next.focus({preventScroll: true});
    next.scrollIntoView({block: "start"});
  };

  const arrows = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {key, target} = event;
    const typing = target.matches?.("input:not([type=checkbox]), select");
    if (key === "Escape") {
      if (typing && !query.value && reset.hidden) target.blur();
      else showAll();
      return;
    }
    if (typing) return;
    const item = target.closest?.(".tags [tabindex], .lines [tabindex]");
    if (item && key in arrows) step(item, arrows[key]);
    else if (key === "j" || key === "ArrowRight") go(1);
    else if (key === "k" || key === "ArrowLeft") go(-1);
    else if (key === "b" && switches.length) toggleBoxes();
    else if (key === "/") {
      query.focus();
      query.select();
    } else return;
    event.preventDefault();
  });

  // The sticky toolbar must not cover the image that the page scrolls to.
  const bar = document.querySelector(".toolbar");
  const measure = () => {
    const sticks = getComputedStyle(bar).position === "sticky";
    root.style.setProperty("--bar", `${sticks ? bar.offsetHeight : 0}px`);
  };
  new ResizeObserver(measure).observe(bar);
  window.addEventListener("resize", measure);

  measure();
  showBoxes();
  filter();
})();
