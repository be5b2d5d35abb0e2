/* What a browser does on its own: the language, the address of a tab, files, copying. Nothing is fetched. */
(() => {
  const spoken = ["zh", "en"];
  const primary = (tag) => tag.toLowerCase().split("-")[0];
  const chosen = document.cookie.match(/(?:^|; )shortlist-language=([\w-]+)/)?.[1];
  const wanted = [chosen ?? "", ...(navigator.languages ?? [navigator.language])].find((tag) => spoken.includes(primary(tag)));
  const language = primary(wanted ?? "en") === "zh" ? "zh-CN" : "en";
  // The framework's labels go by what the browser says of itself, so this stands before its scripts.
  Object.defineProperty(navigator, "language", { get: () => language });
  Object.defineProperty(navigator, "languages", { get: () => [language] });
  document.documentElement.lang = language;

  const KEPT = "shortlist-typed";
  const typed = () => [...document.querySelectorAll("[id] textarea")].map((field) => [field.closest("[id]").id, field.value]);

  function speak(tag) {
    sessionStorage.setItem(KEPT, JSON.stringify(typed()));
    document.cookie = `shortlist-language=${tag}; path=/; max-age=31536000; samesite=strict`;
    location.reload();
  }

  function restore() {
    for (const [id, value] of JSON.parse(sessionStorage.getItem(KEPT) ?? "[]")) {
      const field = document.querySelector(`#${CSS.escape(id)} textarea`);
      if (!field) continue;
      field.value = value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
    sessionStorage.removeItem(KEPT);
  }

  const tabs = { rerank: "rerank", compare: "compare_tab", embed: "embed_tab", status: "status_tab" };
  const tabButton = (name) => document.getElementById(`${tabs[name]}-button`);

  addEventListener("hashchange", () => tabButton(location.hash.slice(1))?.click());

  function decoded(bytes) {
    const start = new Uint8Array(bytes.slice(0, 2));
    if (start[0] === 0xff && start[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      return new TextDecoder("gb18030").decode(bytes); // what spreadsheets write in Chinese
    }
  }

  async function open(file, most) {
    const text = file.size > most ? "" : decoded(await file.arrayBuffer());
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
    else document.execCommand("copy"); // pages without HTTPS have nothing else
    const before = button.textContent;
    button.textContent = button.dataset.copy;
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.language) speak(button.dataset.language);
    if ("copy" in button.dataset) copy(button);
    if ("forget" in button.dataset) document.getElementById("file_forget").click();
    const name = Object.keys(tabs).find((each) => button === tabButton(each));
    if (name) history.replaceState(null, "", name === "rerank" ? location.pathname : `#${name}`);
  });

  globalThis.shortlist = {
    file: ["", "", "0"],
    /* Once the page can be used: mark the language, put back what was typed in another one, open the tab of the address. */
    arrive() {
      for (const button of document.querySelectorAll("[data-language]")) {
        button.setAttribute("aria-pressed", String(button.dataset.language === language));
      }
      restore();
      const name = location.hash.slice(1);
      if (name in tabs && name !== "rerank") tabButton(name).click();
    },
    /* What an answer looks like once its run was cancelled: what is done stays. */
    stopped(html) {
      const page = new DOMParser().parseFromString(html, "text/html");
      const progress = page.querySelector(".sl-progress");
      if (!progress) return html;
      progress.className = "sl-stopped";
      progress.textContent = progress.dataset.stopped;
      return page.body.innerHTML;
    },
    /* On a narrow screen the answer stands below the form, out of sight. */
    show(id) {
      if (innerWidth < 760) document.getElementById(id)?.scrollIntoView({ block: "start" });
    },
  };
})();
