/* Browser side of the page: language, tab in the URL hash, files, copying. Fetches nothing. */
(() => {
  const supported = ["zh", "en"];
  const primary = (tag) => tag.toLowerCase().split("-")[0];
  const chosen = document.cookie.match(/(?:^|; )shortlist-language=([\w-]+)/)?.[1];
  const preferred = [chosen ?? "", ...(navigator.languages ?? [navigator.language])].find((tag) => supported.includes(primary(tag)));
  const language = primary(preferred ?? "en") === "zh" ? "zh-CN" : "en";
  // Gradio picks its labels by navigator.language, so set it before Gradio's scripts run.
  Object.defineProperty(navigator, "language", { get: () => language });
  Object.defineProperty(navigator, "languages", { get: () => [language] });
  document.documentElement.lang = language;

  const STORAGE_KEY = "shortlist-typed";
  const fieldValues = () => [...document.querySelectorAll("[id] textarea")].map((field) => [field.closest("[id]").id, field.value]);

  function switchLanguage(tag) {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(fieldValues()));
    document.cookie = `shortlist-language=${tag}; path=/; max-age=31536000; samesite=strict`;
    location.reload();
  }

  function restore() {
    for (const [id, value] of JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]")) {
      const field = document.querySelector(`#${CSS.escape(id)} textarea`);
      if (!field) continue;
      field.value = value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
    sessionStorage.removeItem(STORAGE_KEY);
  }

  const tabs = { rerank: "rerank", compare: "compare_tab", embed: "embed_tab", jobs: "jobs_tab", status: "status_tab" };
  const tabButton = (name) => document.getElementById(`${tabs[name]}-button`);

  addEventListener("hashchange", () => tabButton(location.hash.slice(1))?.click());

  function decoded(bytes) {
    const start = new Uint8Array(bytes.slice(0, 2));
    if (start[0] === 0xff && start[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      return new TextDecoder("gb18030").decode(bytes); // encoding of Chinese spreadsheet programs
    }
  }

  async function open(file, maxBytes) {
    const text = file.size > maxBytes ? "" : decoded(await file.arrayBuffer());
    shortlist.file = [file.name, text, String(file.size)];
    document.getElementById("file_read").click();
  }

  const picker = () => document.getElementById("file");

  document.addEventListener("change", (event) => {
    if (event.target.id !== "file" || !event.target.files.length) return;
    open(event.target.files[0], Number(event.target.dataset.most));
    event.target.value = "";
  });

  document.addEventListener("dragover", (event) => {
    if (picker() && event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });

  document.addEventListener("drop", (event) => {
    if (!picker() || !event.dataTransfer?.files.length) return;
    event.preventDefault();
    open(event.dataTransfer.files[0], Number(picker().dataset.most));
  });

  async function copy(button) {
    const code = button.closest(".sl-code").querySelector("code");
    getSelection().selectAllChildren(code);
    if (navigator.clipboard) await navigator.clipboard.writeText(code.textContent).catch(() => {});
    else document.execCommand("copy"); // navigator.clipboard needs HTTPS
    const before = button.textContent;
    button.textContent = button.dataset.copy;
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.language) switchLanguage(button.dataset.language);
    if ("copy" in button.dataset) copy(button);
    if ("forget" in button.dataset) document.getElementById("file_forget").click();
    if ("job" in button.dataset && (!button.dataset.confirm || confirm(button.dataset.confirm))) {
      shortlist.job = [button.dataset.job, button.dataset.id];
      document.getElementById("job_clicked").click();
    }
    const name = Object.keys(tabs).find((each) => button === tabButton(each));
    if (name) history.replaceState(null, "", name === "rerank" ? location.pathname : `#${name}`);
  });

  globalThis.shortlist = {
    file: ["", "", "0"],
    job: ["", ""],
    /* Runs when the page is ready: mark the language, restore the fields after a language switch, open the tab of the URL hash. */
    arrive() {
      for (const button of document.querySelectorAll("[data-language]")) {
        button.setAttribute("aria-pressed", String(button.dataset.language === language));
      }
      restore();
      const name = location.hash.slice(1);
      if (name in tabs && name !== "rerank") tabButton(name).click();
    },
    /* Return the answer of a cancelled run: results so far, without the progress bar. */
    stopped(html) {
      const page = new DOMParser().parseFromString(html, "text/html");
      const progress = page.querySelector(".sl-progress");
      if (!progress) return html;
      progress.className = "sl-stopped";
      progress.textContent = progress.dataset.stopped;
      return page.body.innerHTML;
    },
    /* Scroll to the answer: on a narrow screen it is below the form. */
    show(id) {
      if (innerWidth < 760) document.getElementById(id)?.scrollIntoView({ block: "start" });
    },
  };
})();
