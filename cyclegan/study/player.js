// The page of a study: consent, instructions, practice, test, thanks. It is told nothing that it must not show:
// which picture is real is known to the server alone.

// --- words --------------------------------------------------------------------------------------------------

const WORDS = {
  language: ["한국어", "English"],
  loading: ["Loading…", "불러오는 중…"],
  progress: ["{number} of {of}", "{of}개 중 {number}번째"],
  progress_practice: ["Practice: {number} of {of}", "연습: {of}개 중 {number}번째"],

  consent_title: ["Would you like to take part?", "연구에 참여하시겠습니까?"],
  what_real: ["You are shown {count} pairs of pictures, and say each time which one is real.",
    "사진을 두 장씩 {count}번 보시고, 어느 쪽이 진짜인지 답하시면 됩니다."],
  what_fake: ["You are shown {count} pairs of pictures, and say each time which one is fake.",
    "사진을 두 장씩 {count}번 보시고, 어느 쪽이 가짜인지 답하시면 됩니다."],
  what_single: ["You are shown {count} pictures, one by one, and say of each whether it is real or fake.",
    "사진을 한 장씩 {count}번 보시고, 진짜인지 가짜인지 답하시면 됩니다."],
  what_pick: ["You are shown {count} pairs of pictures, and say each time which one looks more real.",
    "사진을 두 장씩 {count}번 보시고, 어느 쪽이 더 진짜처럼 보이는지 답하시면 됩니다."],
  what_tag: ["You are shown {count} pictures that a computer has made, and mark what is wrong with them.",
    "컴퓨터가 만든 사진을 {count}장 보시고, 이상한 점을 표시하시면 됩니다."],
  minute: ["It takes about a minute.", "1분쯤 걸립니다."],
  minutes: ["It takes about {minutes} minutes.", "{minutes}분쯤 걸립니다."],
  stored_title: ["What is stored", "저장되는 정보"],
  stored: ["Your answers, how long they took and how long each picture was on the screen; the size of your screen "
    + "and the language of this page; {id}.",
  "답변, 답하는 데 걸린 시간, 사진이 화면에 표시된 시간, 화면 크기와 언어, 그리고 {id}가 저장됩니다."],
  id_link: ["the participant id in your link", "링크에 포함된 참가자 ID"],
  id_login: ["your Hugging Face user name", "Hugging Face 사용자 이름"],
  id_random: ["a random id, kept in this browser, instead of a name", "이름 대신 이 브라우저에 보관되는 무작위 ID"],
  address: ["Your internet address is kept only as a salted hash, and only for a day. This page sets no cookies.",
    "인터넷 주소는 알아볼 수 없게 변환한 값(솔트 해시)으로만 하루 동안 보관되며, 이 연구는 쿠키를 사용하지 않습니다."],
  address_login: ["Your internet address is kept only as a salted hash, and only for a day.",
    "인터넷 주소는 알아볼 수 없게 변환한 값(솔트 해시)으로만 하루 동안 보관됩니다."],
  voluntary_title: ["Your choice", "자발적 참여"],
  voluntary: ["Taking part is voluntary. You can stop at any time by closing the page; the answers given so far stay "
    + "stored unless you ask for them to be deleted.",
  "참여는 자발적입니다. 언제든지 페이지를 닫고 그만두실 수 있습니다. 그때까지의 답변은 삭제를 요청하지 않으시면 그대로 보관됩니다."],
  contact: ["Questions, or to have your answers deleted:", "문의 및 답변 삭제 요청:"],
  no_contact: ["With questions, or to have your answers deleted, turn to whoever gave you the link.",
    "문의하시거나 답변 삭제를 원하시면 링크를 보내 주신 분께 연락해 주세요."],
  agree: ["I am 18 or older and take part", "만 18세 이상이며 참여합니다"],
  decline: ["No, thanks", "참여하지 않겠습니다"],
  declined_title: ["That's fine", "알겠습니다"],
  declined: ["You don't take part. You can close this page.", "참여하지 않으셔도 괜찮습니다. 이 페이지를 닫으셔도 됩니다."],
  back: ["Back", "돌아가기"],

  how_title: ["How it works", "진행 방법"],
  how_fakes: ["Some pictures are real; the others, the fakes, were made by a computer.",
    "어떤 사진은 진짜이고, 어떤 사진은 컴퓨터가 만든 가짜입니다."],
  how_all_fakes: ["All pictures were made by a computer.", "모든 사진은 컴퓨터가 만든 것입니다."],
  how_together: ["Two pictures appear side by side for {seconds}, then disappear.",
    "사진 두 장이 나란히 {seconds} 동안 나타났다가 사라집니다."],
  how_together_stay: ["Two pictures appear side by side, and stay until you answer.",
    "사진 두 장이 나란히 나타나고, 답하실 때까지 그대로 있습니다."],
  how_sequence: ["Two pictures appear one after the other, the left one first, for {seconds} each, then disappear.",
    "사진 두 장이 왼쪽부터 차례로 {seconds}씩 나타났다가 사라집니다."],
  how_single: ["A picture appears for {seconds}, then disappears.", "사진 한 장이 {seconds} 동안 나타났다가 사라집니다."],
  how_single_stay: ["A picture appears, and stays until you answer.", "사진 한 장이 나타나고, 답하실 때까지 그대로 있습니다."],
  how_mask: ["A coloured pattern then covers the place of each picture.", "그 뒤에는 사진이 있던 자리를 무늬가 덮습니다."],
  ask_real: ["Choose the one that you take for real. If you are not sure, guess.",
    "진짜라고 생각되는 쪽을 골라 주세요. 잘 모르겠으면 짐작해서 고르시면 됩니다."],
  ask_fake: ["Choose the one that you take for fake. If you are not sure, guess.",
    "가짜라고 생각되는 쪽을 골라 주세요. 잘 모르겠으면 짐작해서 고르시면 됩니다."],
  ask_single: ["Say whether it is real or fake. If you are not sure, guess.",
    "진짜인지 가짜인지 골라 주세요. 잘 모르겠으면 짐작해서 고르시면 됩니다."],
  ask_pick: ["Choose the one that looks more real. If you see no difference, say so.",
    "더 진짜처럼 보이는 쪽을 골라 주세요. 차이가 없어 보이면 ‘비슷함’을 고르시면 됩니다."],
  ask_tag: ["Choose all that is wrong with it. If you like, draw a box around the place, with the mouse or a finger.",
    "이상한 점을 모두 골라 주세요. 원하시면 마우스나 손가락으로 그 부분에 네모를 그릴 수 있습니다."],
  how_time: ["Take the time that you need for your answer.", "답하는 시간에는 제한이 없습니다."],
  how_practice: ["The first {practice} are for practice, and you are told the answer. Then come {test} without being told.",
    "처음 {practice}개는 연습으로, 정답을 알려 드립니다. 이어지는 {test}개에서는 알려 드리지 않습니다."],
  how_keys: ["With a keyboard: {keys}.", "키보드를 쓰실 때: {keys}."],
  how_leave: ["If you have to leave, open the same link on this device later: it goes on where you stopped.",
    "중간에 나가셔도 나중에 같은 기기에서 같은 링크를 여시면 멈춘 곳부터 이어집니다."],
  begin: ["Begin", "시작하기"],
  seconds: ["{seconds} seconds", "{seconds}초"],
  second: ["one second", "1초"],

  question_real: ["Which picture is real?", "어느 쪽이 진짜 사진인가요?"],
  question_fake: ["Which picture is fake?", "어느 쪽이 가짜 사진인가요?"],
  question_single: ["Real or fake?", "진짜인가요, 가짜인가요?"],
  question_pick: ["Which looks more real?", "어느 쪽이 더 진짜 같나요?"],
  question_tag: ["Choose all that is wrong", "이상한 점을 모두 골라 주세요"],
  left: ["← Left", "← 왼쪽"],
  right: ["Right →", "오른쪽 →"],
  tie: ["No difference", "비슷함"],
  real_answer: ["← Real", "← 진짜"],
  fake_answer: ["Fake →", "가짜 →"],
  picture_left: ["Left picture", "왼쪽 사진"],
  picture_right: ["Right picture", "오른쪽 사진"],
  picture: ["Picture", "사진"],
  nothing_wrong: ["Nothing wrong", "이상 없음"],
  next: ["Next", "다음"],
  tag_blur: ["Blurred", "흐릿함"],
  tag_smear: ["Smeared", "뭉개짐"],
  tag_colour: ["Wrong colour", "이상한 색"],
  tag_missing: ["Something missing", "빠진 것이 있음"],
  tag_invented: ["Something made up", "없던 것이 생김"],
  tag_checkerboard: ["Checkered pattern", "격자무늬"],
  tag_other: ["Something else", "그 밖의 문제"],
  draw: ["{tag}: draw a box around it if you like", "{tag}: 원하시면 그 부분에 네모를 그려 주세요"],
  keys_pair: ["← left   → right", "← 왼쪽   → 오른쪽"],
  keys_pick: ["← left   → right   ↓ or space: no difference", "← 왼쪽   → 오른쪽   ↓ 또는 스페이스: 비슷함"],
  keys_single: ["← real   → fake", "← 진짜   → 가짜"],
  keys_tag: ["1 to {count}: choose   0: nothing wrong   Enter: next", "1–{count}: 선택   0: 이상 없음   Enter: 다음"],
  keys_go: ["Enter: continue", "Enter: 계속"],

  correct: ["✓ Correct.", "✓ 맞습니다."],
  wrong: ["✗ Not quite.", "✗ 아쉽게도 틀렸습니다."],
  real_left: ["The real picture was on the left.", "왼쪽이 진짜였습니다."],
  real_right: ["The real picture was on the right.", "오른쪽이 진짜였습니다."],
  fake_left: ["The fake was on the left.", "왼쪽이 가짜였습니다."],
  fake_right: ["The fake was on the right.", "오른쪽이 가짜였습니다."],
  was_real: ["The picture was real.", "진짜 사진이었습니다."],
  was_fake: ["The picture was fake.", "가짜 사진이었습니다."],
  real: ["real", "진짜"],
  fake: ["fake", "가짜"],
  go_on: ["Continue", "계속하기"],
  test_title: ["Practice is over", "연습이 끝났습니다"],
  test_begins: ["Now come {of} without being told the answer.", "이제부터 {of}개는 정답을 알려 드리지 않습니다."],
  again_title: ["Welcome back", "다시 오셨군요"],
  again: ["You stopped at {number} of {of}. Continue when you are ready.",
    "{of}개 중 {number}번째에서 멈추셨습니다. 준비되시면 계속해 주세요."],
  again_practice: ["You stopped in the practice, at {number} of {of}. Continue when you are ready.",
    "연습 {of}개 중 {number}번째에서 멈추셨습니다. 준비되시면 계속해 주세요."],
  seen: ["Shown before the interruption, and only once: please answer from memory, or guess.",
    "중단되기 전에 이미 보신 사진이며, 한 번만 보여 드립니다. 기억나는 대로, 또는 짐작으로 답해 주세요."],
  paused_title: ["Paused", "일시 정지"],
  paused: ["The page was in the background. Continue when you are ready.",
    "페이지가 화면에 보이지 않았습니다. 준비되시면 계속해 주세요."],

  preview_mark: ["Preview: nothing is recorded.", "미리 보기입니다. 아무것도 기록되지 않습니다."],
  preview_end: ["This was a preview: nothing was recorded. Load the page again to go through it once more.",
    "미리 보기였으므로 아무것도 기록되지 않았습니다. 페이지를 새로 고치면 처음부터 다시 볼 수 있습니다."],
  thanks_title: ["Thank you!", "감사합니다!"],
  thanks: ["All your answers are stored.", "모든 답변이 저장되었습니다."],
  score: ["You were right {correct} times out of {of}.", "{of}개 중 {correct}개를 맞히셨습니다."],
  chance: ["By guessing, one is right about half the time.", "짐작만으로는 절반쯤 맞힐 수 있습니다."],
  code_title: ["Your completion code", "완료 코드"],
  copy: ["Copy", "복사"],
  copied: ["Copied", "복사했습니다"],
  copy_failed: ["Select and copy it", "직접 복사해 주세요"],
  return: ["Finish at {host}", "{host}에서 마치기"],
  close: ["You can close this page now.", "이제 이 페이지를 닫으셔도 됩니다."],
  disqualified_title: ["Thank you for trying", "참여해 주셔서 감사합니다"],
  disqualified: ["The second part needs more right answers in the practice than you had, so the study ends here.",
    "본 단계로 넘어가려면 연습에서 정답이 더 필요합니다. 연구는 여기서 마칩니다."],
  expired_title: ["The session has ended", "참여 시간이 지났습니다"],
  expired: ["It could be played for {hours} hours from its start. What you answered until then is stored.",
    "시작하신 뒤 {hours}시간 안에 마치셔야 했습니다. 그때까지의 답변은 저장되어 있습니다."],

  wait: ["Please wait: the connection is interrupted. The study continues by itself, and nothing is lost.",
    "잠시만 기다려 주세요. 연결이 끊겼습니다. 연결되면 저절로 이어지며, 잃어버리는 것은 없습니다."],
  wait_vote: ["Please wait: the connection is interrupted. Your answer is kept, and is sent as soon as it is back.",
    "잠시만 기다려 주세요. 연결이 끊겼습니다. 답변은 보관되어 있으며, 연결되는 대로 전송됩니다."],
  wait_slow: ["Please wait: the line is slow, and the pictures are still on their way.",
    "잠시만 기다려 주세요. 연결이 느려 사진을 아직 불러오고 있습니다."],
  wait_long: ["You can also close this page and open the same link later.",
    "이 페이지를 닫고 나중에 같은 링크를 다시 여셔도 됩니다."],

  elsewhere_title: ["The study goes on in another window", "다른 창에서 진행 중입니다"],
  elsewhere: ["You have opened it a second time. Close this window, or continue here.",
    "연구를 다른 창에서도 여셨습니다. 이 창을 닫으시거나, 여기에서 계속하실 수 있습니다."],
  here: ["Continue here", "여기에서 계속하기"],
  login_title: ["Log in to take part", "로그인이 필요합니다"],
  login: ["This study is for accounts of Hugging Face. You come back here after you have logged in.",
    "이 연구는 Hugging Face 계정으로 참여하실 수 있습니다. 로그인하시면 이 페이지로 돌아옵니다."],
  log_in: ["Log in with Hugging Face", "Hugging Face로 로그인"],
  stop_title: ["Sorry", "죄송합니다"],
  reload: ["Load the page again", "페이지 새로 고침"],
  taken: ["This link was used already, in another browser or on another device: go on there.",
    "이 링크는 이미 다른 브라우저나 다른 기기에서 사용되었습니다. 그곳에서 계속해 주세요."],
  taken_login: ["This account takes part already, in another browser or on another device: go on there.",
    "이 계정으로 이미 다른 브라우저나 다른 기기에서 참여하셨습니다. 그곳에서 계속해 주세요."],
  too_many: ["Too many attempts: wait a few minutes, then load the page again.",
    "시도가 너무 많았습니다. 몇 분 뒤에 페이지를 새로 고쳐 주세요."],
  closed: ["This session is over. Thank you for taking part.", "이미 끝난 참여입니다. 참여해 주셔서 감사합니다."],
  not_found: ["There is no study at this address: ask for the link again.",
    "이 주소에는 연구가 없습니다. 링크를 다시 받아 주세요."],
  other_study: ["The link names another study than this one: ask for the link again.",
    "링크에 적힌 연구가 이 연구와 다릅니다. 링크를 다시 받아 주세요."],
  bad_participant: ["The participant id in the link can't be used: ask for the link again.",
    "링크의 참가자 ID를 사용할 수 없습니다. 링크를 다시 받아 주세요."],
  preview: ["This is a preview. Accept the task first; then open it from there.",
    "미리보기입니다. 먼저 작업을 수락한 뒤 다시 열어 주세요."],
  no_login: ["This study asks for a Hugging Face account, and this server can't log in: open the study on its Space.",
    "이 연구는 Hugging Face 계정이 필요하지만 이 서버에서는 로그인할 수 없습니다. Space에서 열어 주세요."],
  login_needed: ["You are not logged in any more: load the page again.", "로그인이 해제되었습니다. 페이지를 새로 고쳐 주세요."],
  no_session: ["The session is not known any more: load the page to begin again.",
    "세션을 찾을 수 없습니다. 페이지를 새로 고쳐 다시 시작해 주세요."],
  late: ["The time for this session is over.", "참여할 수 있는 시간이 지났습니다."],
  failed: ["Something went wrong. Load the page again: it goes on where you stopped.",
    "문제가 생겼습니다. 페이지를 새로 고치시면 멈춘 곳부터 이어집니다."],
};
const LANGUAGES = ["en", "ko"];

// --- what stays in the browser ------------------------------------------------------------------------------

const PATH = location.pathname.replace(/\/+$/, "");
const NAME = decodeURIComponent(PATH.split("/").pop());
const LINK = new URLSearchParams(location.search);
const PARTICIPANT = LINK.get("participant") || LINK.get("PROLIFIC_PID") || LINK.get("workerId") || null;
const SHELVES = [() => localStorage, () => sessionStorage];

/** Read a value, or keep it, in whatever this browser lets a page write to. */
function remember(key, value) {
  key = `study:${key}`;
  for (const shelf of SHELVES) {
    try {
      if (value !== undefined) return shelf().setItem(key, JSON.stringify(value));
      const found = shelf().getItem(key);
      if (found !== null) return JSON.parse(found);
    } catch { /* No storage in this frame: take the next. */ }
  }
  let kept = {};
  try { kept = JSON.parse(window.name) ?? {}; } catch { /* Somebody else's name. */ }
  if (value !== undefined) window.name = JSON.stringify({ ...kept, [key]: value });
  return kept[key];
}

let shelf = null;
/** {secret, key, pending}: what proves the session, what it was begun with, a vote that is not yet acknowledged. */
let session = {};

/** Open what is kept of this participant's session in this study. Of a preview nothing is. */
function openShelf(participant) {
  if (about.preview) return;
  shelf = `${NAME}:${participant ?? ""}`;
  session = remember(shelf) ?? {};
}

function keep(changes) {
  session = { ...session, ...changes };
  if (shelf) remember(shelf, session);
}

// --- the language -------------------------------------------------------------------------------------------

let language = LANGUAGES.indexOf(remember("language") ?? (/^ko\b/i.test(navigator.language) ? "ko" : "en"));

/** The words of `key` in the participant's language. */
function say(key, values = {}) {
  return WORDS[key][language].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Put words on an element; they change with the language. */
function put(element, words) {
  element.words = words;
  element.textContent = words();
}

function relabel() {
  document.documentElement.lang = LANGUAGES[language];
  for (const element of document.querySelectorAll("*")) {
    if (element.words) element.textContent = element.words();
    if (element.label) element.setAttribute("aria-label", element.label());
  }
}

// --- the server ---------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(code, message, again) {
    super(message);
    this.code = code;
    this.again = again; // An earlier try of the same request was lost on the way.
  }
}

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
/** What waits for the connection, and how that is said. */
const waits = new Map();

function tell() {
  const notice = document.getElementById("notice"), kinds = [...waits.values()];
  const words = () => {
    if (!kinds.length) return "";
    return kinds.includes("wait_long") ? `${say("wait")} ${say("wait_long")}` : say(kinds[0]);
  };
  if (notice.textContent !== words()) put(notice, words);
}

/** Say that something waits for the connection, or does no more. */
function wait(who, key) {
  if (key) waits.set(who, key); else waits.delete(who);
  tell();
}

/** Ask the server until it answers, however long that takes. A picture is had once, so it gets long to arrive. */
async function call(path, { body, kind = "wait", picture = false } = {}) {
  const who = Symbol(path), began = performance.now();
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (session.secret && !picture) headers.Authorization = `Bearer ${session.secret}`;
  const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store" };
  try {
    for (let tries = 0; ; tries++) {
      let pause = Math.min(8000, 400 * 2 ** Math.min(tries, 5));
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), picture ? 120000 : 20000);
      const slow = setTimeout(() => wait(who, picture ? "wait_slow" : kind), 4000);
      try {
        const response = await fetch(`${PATH}/${path}`, { ...options, signal: abort.signal });
        if (response.ok) return await (picture ? response.blob() : response.json());
        const refusal = await response.json();
        if (response.status < 500 && refusal.error && refusal.error !== "slow_down") {
          throw new Refused(refusal.error, refusal.message, tries > 0);
        }
        pause = Math.max(pause, 1000 * (Number(response.headers.get("Retry-After")) || 0));
      } catch (error) {
        if (error instanceof Refused) throw error; // All else is a connection that failed, or a proxy's own page.
      } finally {
        clearTimeout(timer);
        clearTimeout(slow);
      }
      // The first failure is tried again before anybody is troubled with it.
      if (tries) wait(who, performance.now() - began > 60000 ? "wait_long" : kind);
      let online;
      await Promise.race([
        sleep(pause * (0.75 + Math.random() / 2)), // Not everybody at the same moment.
        new Promise(resolve => window.addEventListener("online", online = resolve)),
      ]);
      window.removeEventListener("online", online);
    }
  } finally {
    wait(who, null);
  }
}

/** Fetch and decode a picture. */
async function fetchPicture(token) {
  const blob = await call(`stimulus/${encodeURIComponent(token)}`, { picture: true });
  try {
    const bitmap = await createImageBitmap(blob);
    warm.drawImage(bitmap, 0, 0, 1, 1); // Decoded and uploaded now, and not as it is drawn.
    return bitmap;
  } catch {
    throw new Refused("gone", "The picture came damaged.", true);
  }
}

/** A state whose pictures are at hand; `pictures` is null where they have been seen, or there are none. */
async function prepare(state) {
  const who = Symbol("pictures");
  try {
    for (let tries = 0; ; tries++) {
      const trial = state.trial;
      if (!trial || trial.seen) return { state, pictures: null };
      const fetched = await Promise.allSettled([trial.left, trial.right].filter(Boolean).map(fetchPicture));
      const errors = fetched.filter(({ reason }) => reason).map(({ reason }) => reason);
      if (!errors.length) return { state, pictures: fetched.map(({ value }) => value) };
      fetched.forEach(({ value }) => value?.close());
      const final = errors.find(error => {
        if (!(error instanceof Refused)) return true;
        return !error.again && (error.code !== "not_found" || tries > 2);
      });
      if (final) throw final;
      if (tries) { // Again and again: the server has its troubles.
        wait(who, "wait");
        await sleep(Math.min(8000, 400 * 2 ** tries) * (0.75 + Math.random() / 2));
      }
      state = await call("session"); // Lost on the way: it is had once, so all get new addresses.
    }
  } finally {
    wait(who, null);
  }
}

/** Have a vote recorded. It is kept until that is acknowledged, so that a reload sends it again. */
async function send(vote) {
  keep({ pending: vote });
  try {
    return await call("vote", { body: vote, kind: "wait_vote" });
  } finally {
    keep({ pending: null });
  }
}

// --- the page's parts ---------------------------------------------------------------------------------------

const [textPart, trialPart, question, tagsPart, said, buttons, keys, progress] =
  ["text", "trial", "question", "tags", "said", "buttons", "keys", "progress"].map(id => document.getElementById(id));
const bar = document.querySelector("#bar i"), boxes = document.querySelector(".boxes");
const places = [...document.querySelectorAll(".place")];
const canvases = places.map(place => place.querySelector("canvas"));
const contexts = canvases.map(canvas => canvas.getContext("2d", { alpha: true }));
const warm = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
let about, mask;

/** What is asked for: real, fake (of two), single, pick or tag. */
function asked() {
  if (about.task !== "realness") return about.task;
  return about.presentation === "single" ? "single" : about.question;
}

/** An element with words on it. */
function make(tag, words, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  if (words) put(element, words);
  return element;
}

const paragraph = (key, values) => make("p", () => say(key, values));

/** Show these buttons; who went to them by keyboard stays at them. */
function setButtons(elements) {
  const focused = buttons.contains(document.activeElement);
  buttons.replaceChildren(...elements);
  if (focused) (buttons.querySelector(".last") ?? elements.at(-1))?.focus();
}

function makeButton(key, press, properties = {}) {
  const button = make("button", () => say(key), { type: "button", ...properties });
  button.addEventListener("click", event => {
    if (event.detail > 1) return; // The second of a double click was meant for what is gone.
    if (event.detail) button.blur(); // By mouse or finger; a key pressed later means the question.
    press(event);
  });
  return button;
}

/** A page of text; the value of the button that is pressed. The one that is `main` is also pressed by Enter. */
function screen(parts, choices) {
  document.body.dataset.screen = "text";
  trialPart.hidden = true;
  textPart.replaceChildren(...parts);
  textPart.hidden = false;
  textPart.parentElement.scrollTop = 0;
  setKeys(null);
  return new Promise(resolve => {
    setButtons(choices.map(({ key, value, main, href, words }) => {
      if (href) {  // A frame may not be able to leave its page by itself.
        const target = window === window.top ? "_top" : "_blank";
        return make("a", words, { href, className: "button main", rel: "noreferrer", target });
      }
      return makeButton(key, () => resolve(value), { className: main ? "main" : "" });
    }));
    heading(parts[0]);
  });
}

function heading(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

const title = key => make("h1", () => say(key));

function setProgress(state) {
  const test = state?.phase === "test";
  put(progress, () => state ? say(test ? "progress" : "progress_practice", state) : "");
  bar.style.transform = `scaleX(${state ? (state.number - 1) / state.of : 0})`;
}

function setKeys(words) {
  put(keys, words ?? (() => ""));
}

function setSaid(words, kind = "") {
  said.className = kind;
  put(said, words ?? (() => ""));
}

// --- the pictures -------------------------------------------------------------------------------------------

const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
let period = 1000 / 60, exposing = null, hidings = 0;

const median = values => values.sort((a, b) => a - b)[values.length >> 1];

/** Wait on frame boundaries; the time of the frame that has just begun. Learns how long a frame is on this screen. */
async function blank(ms) {
  const steps = [];
  let began = await frame(), last = began, now, before = hidings;
  do {
    now = await frame();
    if (hidings > before) [began, before] = [now, hidings]; // It was out of sight: again from the start.
    steps.push(now - last);
    last = now;
  } while (now - began < ms);
  if (steps.length > 4) period = median(steps);
  return now;
}

function clear(index) {
  contexts[index].clearRect(0, 0, ...about.size);
}

addEventListener("blur", () => { if (exposing) exposing.lost = true; });
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return;
  hidings += 1;
  if (!exposing) return;
  exposing.lost = true;
  if (!about.exposure_ms) return;
  exposing.end ??= performance.now(); // Frames have stopped: what nobody sees is taken away at once.
  exposing.which.forEach(clear);
});

/** Show pictures from this frame on, to the frame that is nearest to the planned end. */
async function expose(which, pictures, onset, measured) {
  const exposure = exposing = { which, lost: false, end: null };
  for (const index of which) contexts[index].drawImage(pictures[index], 0, 0);
  if (!about.exposure_ms) return onset; // They stay until the answer.
  let now = onset;
  while (exposure.end === null) {
    const last = now;
    now = await frame();
    if (exposure.end !== null) break; // The page is back in sight.
    measured.frames += 1;
    measured.longest_frame_ms = Math.max(measured.longest_frame_ms, now - last);
    if (now - onset >= about.exposure_ms - period / 2) exposure.end = now;
  }
  for (const index of which) {
    clear(index);
    if (about.mask) contexts[index].drawImage(mask, 0, 0);
    measured[index ? "exposure_right_ms" : "exposure_left_ms"] = exposure.end - onset;
  }
  measured.focus_lost ||= exposure.lost;
  exposing = null;
  return now;
}

const unmeasured = () => ({
  exposure_left_ms: null, exposure_right_ms: null, frames: null, longest_frame_ms: null, focus_lost: false,
});

/** Blank, pictures, and what was measured; `onset` is when the question may be answered. */
async function present(pictures) {
  const measured = { ...unmeasured(), ...(about.exposure_ms ? { frames: 0, longest_frame_ms: 0 } : {}) };
  const groups = about.presentation === "sequence" ? [[0], [1]] : [pictures.map((_, index) => index)];
  let onset;
  for (const which of groups) {
    onset = await expose(which, pictures, await blank(about.blank_ms), measured);
  }
  return { measured, onset };
}

/** Coarse and fine blocks of colour, the same for all trials of a session and of no picture. */
function drawMask([width, height]) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height }), context = canvas.getContext("2d");
  for (const parts of [4, 8, 16, 32]) {
    const size = Math.max(1, Math.ceil(Math.max(width, height) / parts));
    for (let y = 0; y < height; y += size) for (let x = 0; x < width; x += size) {
      if (parts > 4 && Math.random() < 0.6) continue;
      context.fillStyle = `rgb(${[0, 0, 0].map(() => 30 + Math.floor(Math.random() * 196)).join(" ")})`;
      context.fillRect(x, y, size, size);
    }
  }
  return canvas;
}

// --- the question -------------------------------------------------------------------------------------------

let answering = null, answers = [];
const marks = new Map();
let drawing = null;

/** Take an answer, if one is awaited. */
function answer(value, event, button) {
  if (!answering || event.detail > 1 || event.repeat) return;
  if (event.timeStamp - answering.onset < answering.guard) return;
  const { resolve, onset } = answering;
  answering = null;
  setOpen(false);
  button?.classList.add("chosen");
  resolve({ value, response_ms: Math.max(0, event.timeStamp - onset) });
}

function setOpen(open) {
  document.body.classList.toggle("open", open);
  for (const button of answers) {
    if (open) button.classList.remove("chosen");
    button.setAttribute("aria-disabled", String(!open || (button.value === "next" && !marks.size)));
  }
  for (const box of tagsPart.querySelectorAll("input")) box.disabled = !open;
}

function ask(onset, guard) {
  setOpen(true);
  return new Promise(resolve => { answering = { resolve, onset, guard }; });
}

/** Make the answers of this study, once. */
function makeAnswers() {
  const option = (value, key, className = "") => {
    const button = makeButton(key, event => {
      if (button.getAttribute("aria-disabled") === "true") return;
      for (const other of answers) other.classList.toggle("last", other === button);
      answer(value, event, button);
    }, { className });
    button.value = value;
    return button;
  };
  if (about.task === "tag") answers = [option("nothing", "nothing_wrong"), option("next", "next", "main")];
  else if (about.presentation === "single") answers = [option("real", "real_answer"), option("fake", "fake_answer")];
  else answers = [option("left", "left"), option("right", "right")];
  if (about.task === "pick") answers.splice(1, 0, option("tie", "tie", "tie"));

  document.body.dataset.pictures = about.presentation === "single" ? "1" : "2";
  document.body.dataset.task = about.task;
  const [width, height] = about.size;
  const stage = document.getElementById("stage");
  stage.style.setProperty("--ratio", width / height);
  stage.style.setProperty("--most", about.task === "tag"
    ? `max(320px, ${3 * width}px, 60vh)` : `${Math.max(320, 2 * width)}px`);
  canvases.forEach((canvas, index) => {
    Object.assign(canvas, { width, height });
    canvas.label = () => say(about.presentation === "single" ? "picture" : index ? "picture_right" : "picture_left");
    canvas.setAttribute("aria-label", canvas.label());
  });
  mask = drawMask(about.size);
  put(question, () => say(`question_${asked()}`));
  if (document.body.dataset.pictures === "2") {
    places.forEach(place => place.addEventListener("click", event => {
      const button = answers.find(b => b.value === place.dataset.side);
      answer(button.value, event, button);
    }));
  }
  if (about.task === "tag") makeTags();
}

// --- what is wrong with a picture ---------------------------------------------------------------------------

function makeTags() {
  tagsPart.hidden = false;
  for (const tag of about.tags) {
    const label = make("label"), box = make("input", null, { type: "checkbox", value: tag });
    label.append(box, make("span", () => say(`tag_${tag}`)), make("i", null, { textContent: "▢" }));
    label.dataset.tag = tag;
    box.addEventListener("change", () => {
      if (box.checked) marks.set(tag, null); else marks.delete(tag);
      drawing = box.checked ? tag : [...marks.keys()].at(-1) ?? null;
      showMarks();
    });
    tagsPart.append(label);
  }
  const place = places[0];
  let start = null;
  const at = event => {
    const area = place.getBoundingClientRect();
    const parts = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
    return parts.map(part => Math.min(1, Math.max(0, part)));
  };
  const drag = event => {
    if (!start) return;
    const end = at(event);
    const [x, y] = start.map((v, i) => Math.min(v, end[i])), [w, h] = start.map((v, i) => Math.abs(v - end[i]));
    // A tap is no box; it takes the last one away.
    const down = v => Math.floor(v * 1e4) / 1e4; // Never beyond the edge.
    marks.set(drawing, w < 0.015 || h < 0.015 ? null : [x, y, w, h].map(down));
    showMarks();
  };
  place.addEventListener("pointerdown", event => {
    if (!answering || drawing === null || !event.isPrimary || event.button) return;
    event.preventDefault();
    place.setPointerCapture(event.pointerId);
    start = at(event);
  });
  place.addEventListener("pointermove", drag);
  place.addEventListener("pointerup", event => { drag(event); start = null; });
  place.addEventListener("pointercancel", () => { start = null; });
}

function showMarks() {
  boxes.replaceChildren(...[...marks].filter(([, box]) => box).map(([tag, [x, y, w, h]]) => {
    const element = make("div");
    const percent = part => `${100 * part}%`;
    Object.assign(element.style, { left: percent(x), top: percent(y), width: percent(w), height: percent(h) });
    element.append(make("span", () => say(`tag_${tag}`)));
    return element;
  }));
  for (const label of tagsPart.children) {
    const tag = label.dataset.tag;
    label.querySelector("input").checked = marks.has(tag);
    label.classList.toggle("boxed", Boolean(marks.get(tag)));
    label.classList.toggle("drawing", tag === drawing);
  }
  setSaid(drawing === null ? null : () => say("draw", { tag: say(`tag_${drawing}`) }));
  if (answering) setOpen(true);
}

// --- keys ---------------------------------------------------------------------------------------------------

const PAIR = { ArrowLeft: "left", ArrowRight: "right" };
const VALUES = {
  real: PAIR, fake: PAIR,
  pick: { ...PAIR, ArrowDown: "tie", " ": "tie" },
  single: { ArrowLeft: "real", ArrowRight: "fake" },
};

/** Which keys there are, in words. */
const keyWords = () => say(`keys_${VALUES[asked()] === PAIR ? "pair" : asked()}`, { count: about.tags.length });

document.addEventListener("keydown", event => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  document.body.classList.remove("touched");
  const control = event.target.closest?.("button, a, input");
  if (event.key === "Enter" && (!control || control.type === "checkbox")) {
    const main = buttons.querySelector("button.main:not([aria-disabled=true])");
    if (main && !document.body.dataset.consent) { event.preventDefault(); press(main, event); }
    return;
  }
  if (document.body.dataset.screen !== "trial" || !about) return;
  if (about.task === "tag") {
    const box = tagsPart.querySelectorAll("input")[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && box && !box.disabled) box.click();
    else if (event.key === "0") press(answers[0], event);
    return;
  }
  if (event.key === " " && control) return; // It presses the button that has the focus.
  const value = VALUES[asked()][event.key];
  if (!value) return;
  event.preventDefault();
  press(answers.find(button => button.value === value), event);
});
document.addEventListener("pointerdown", event => {
  document.body.classList.toggle("touched", event.pointerType === "touch");
});

/** Press a button by its key: an answer is timed by the key's own event. */
function press(button, event) {
  if (!answers.includes(button)) button.click();
  else if (button.getAttribute("aria-disabled") !== "true") answer(button.value, event, button);
}

// --- a trial ------------------------------------------------------------------------------------------------

/** The places empty, the answers not yet open. */
function showTrial(state) {
  const fresh = document.body.dataset.screen !== "trial";
  document.body.dataset.screen = "trial";
  textPart.hidden = true;
  trialPart.hidden = false;
  for (const place of places) delete place.dataset.truth;
  for (const index of [0, 1]) clear(index);
  marks.clear();
  drawing = null;
  if (about.task === "tag") showMarks();
  setOpen(false);
  for (const button of answers) button.classList.remove("chosen");
  setButtons(answers);
  setProgress(state);
  setSaid(null);
  setKeys(keyWords);
  if (fresh) heading(question);
}

/** Play one trial; the acknowledgement of its vote. Only in practice are its pictures kept, for the feedback. */
async function play(ready) {
  const { state, pictures } = ready, { token, seen } = state.trial;
  const practice = state.phase === "practice";
  let measured = unmeasured(), given;
  if (seen) {
    setSaid(() => say("seen"));
    given = await ask(await frame(), 300);
  } else {
    await call("reveal", { body: { token } });
    const shown = await present(pictures);
    measured = shown.measured;
    given = await ask(shown.onset, about.exposure_ms ? 0 : 150);
    if (exposing) measured.focus_lost ||= exposing.lost;
    exposing = null;
    if (!practice) pictures.forEach(bitmap => bitmap.close());
    if (!about.exposure_ms && !practice) [0, 1].forEach(clear);
  }
  for (const key of ["exposure_left_ms", "exposure_right_ms", "longest_frame_ms"]) {
    if (measured[key] !== null) measured[key] = Math.round(measured[key] * 10) / 10;
  }
  const value = given.value;
  const content = about.task === "tag"
    ? { marks: value === "nothing" ? [] : [...marks].map(([tag, box]) => ({ tag, box })) }
    : about.presentation === "single" ? { verdict: value } : { chosen_side: value };
  return send({ token, ...content, ...measured, response_ms: Math.round(given.response_ms * 10) / 10 });
}

/** Say what was right, for a while or until it is enough. The pictures are seen again, if they are still at hand. */
async function tellFeedback({ correct, real_side: side, truth }, pictures) {
  [0, 1].forEach(clear);
  pictures?.forEach((bitmap, index) => contexts[index].drawImage(bitmap, 0, 0));
  if (side) places.forEach(place => { place.dataset.truth = place.dataset.side === side ? "real" : "fake"; });
  else places[0].dataset.truth = truth;
  for (const place of places) put(place.querySelector(".truth"), () => say(place.dataset.truth ?? "fake"));
  const other = side === "left" ? "right" : "left";
  const was = !side ? `was_${truth}` : about.question === "fake" ? `fake_${other}` : `real_${side}`;
  setSaid(() => `${say(correct ? "correct" : "wrong")} ${say(was)}`, correct ? "right" : "wrong");
  setKeys(() => say("keys_go"));
  await Promise.race([
    about.feedback_ms ? sleep(about.feedback_ms) : new Promise(() => {}),
    new Promise(resolve => setButtons([makeButton("go_on", resolve, { className: "main" })])),
  ]);
}

// --- a session ----------------------------------------------------------------------------------------------

/** Play from a state to the end. */
async function run(state, greet) {
  let next = prepare(state);
  let phase = null;
  for (;;) {
    next.catch(() => {}); // It is thrown where it is awaited.
    if (state.trial) {
      if (greet) {
        await screen([title("again_title"), paragraph(state.phase === "test" ? "again" : "again_practice", state)],
          [{ key: "go_on", main: true }]);
      } else if (phase === "practice" && state.phase === "test") {
        setProgress(null);
        await screen([title("test_title"), paragraph("test_begins", state)], [{ key: "go_on", main: true }]);
      }
      greet = false;
      phase = state.phase;
      showTrial(state);
      const late = setTimeout(() => setSaid(() => say("loading")), 500);
      let ready;
      try { ready = await next; } finally { clearTimeout(late); }
      state = ready.state;
      if (document.hidden && !state.trial?.seen) {
        await screen([title("paused_title"), paragraph("paused")], [{ key: "go_on", main: true }]);
      }
      if (state.trial) {
        showTrial(state);
        try {
          const ack = await play(ready);
          state = ack.next;
          next = prepare(state); // While feedback is read.
          next.catch(() => {});
          if (ack.feedback) await tellFeedback(ack.feedback, ready.pictures);
        } finally { ready.pictures?.forEach(bitmap => bitmap.close()); }
        continue;
      }
    }
    return finish(state);
  }
}

/** The last page. */
async function finish({ phase, score, code, url }) {
  setProgress(null);
  bar.style.transform = phase === "done" ? "scaleX(1)" : "";
  const kind = phase === "done" ? "thanks" : phase;
  const said = about.preview && kind === "thanks" ? "preview_end" : kind;
  if (about.preview) url = null; // It would end a real participation elsewhere.
  const parts = [title(`${kind}_title`), paragraph(said, { hours: about.session_hours })];
  if (score) {
    parts.push(make("p", () => say("score", score), { className: "score" }));
    if (about.task === "realness") parts.push(make("p", () => say("chance"), { className: "soft" }));
  }
  if (code) {
    const shown = make("code", null, { textContent: code, id: "code" });
    const copy = make("button", () => say("copy"), { type: "button", className: "small" });
    copy.addEventListener("click", async () => {
      let done = true;
      try { await navigator.clipboard.writeText(code); } catch {
        getSelection().selectAllChildren(shown);
        done = document.execCommand("copy");
      }
      put(copy, () => say(done ? "copied" : "copy_failed"));
    });
    const line = make("div", null, { className: "code" });
    line.append(shown, copy);
    parts.push(make("h2", () => say("code_title")), line);
  }
  if (!url && !about.preview) parts.push(make("p", () => say("close"), { className: "soft" }));
  const host = url && new URL(url).host;
  await screen(parts, url ? [{ href: url, words: () => say("return", { host }), main: true }] : []);
}

/** Why it does not go on. */
async function stop(code, message) {
  setProgress(null);
  const reload = ["no_session", "login_needed", "too_many", "failed"].includes(code) || !(code in WORDS);
  const key = code === "taken" && about?.login ? "taken_login" : code;
  const words = make("p", () => code in WORDS ? say(key) : language ? say("failed") : message || say("failed"));
  const contact = code === "taken" && about?.contact ? [contactLine()] : [];
  await screen([title("stop_title"), words, ...contact], reload ? [{ key: "reload", main: true }] : []);
  location.reload();
}

/** How long it takes, roughly. */
function minutes() {
  const { practice_trials: practice, test_trials: test, exposure_ms: exposure } = about;
  const answer = about.task === "tag" ? 15000 : exposure ? 2000 : 4000;
  const each = (about.presentation === "sequence" ? 2 : 1) * (about.blank_ms + exposure) + answer;
  return Math.max(1, Math.round(((practice + test) * each + practice * about.feedback_ms) / 60000));
}

function seconds(ms) {
  return ms === 1000 ? say("second") : say("seconds", { seconds: ms / 1000 });
}

/** Whom to turn to. */
function contactLine() {
  if (!about.contact) return paragraph("no_contact");
  const mail = /^[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+$/.test(about.contact), line = make("p");
  line.append(make("span", () => say("contact")), " ", mail
    ? make("a", () => about.contact, { href: `mailto:${about.contact}` }) : make("span", () => about.contact));
  return line;
}

async function consent() {
  const count = about.practice_trials + about.test_trials;
  const time = minutes(), words = time === 1 ? "minute" : "minutes";
  const id = about.login ? "id_login" : PARTICIPANT ? "id_link" : "id_random";
  for (;;) {
    document.body.dataset.consent = "yes"; // Enter alone agrees to nothing.
    const agreed = await screen([
      title("consent_title"),
      make("p", () => `${say(`what_${asked()}`, { count })} ${say(words, { minutes: time })}`),
      make("h2", () => say("stored_title")),
      make("p", () => say("stored", { id: say(id) })),
      paragraph(about.login ? "address_login" : "address"),
      make("h2", () => say("voluntary_title")),
      paragraph("voluntary"),
      contactLine(),
    ], [{ key: "decline", value: false }, { key: "agree", value: true, main: true }]);
    delete document.body.dataset.consent;
    if (agreed) return;
    await screen([title("declined_title"), paragraph("declined")], [{ key: "back" }]);
  }
}

async function instructions() {
  const { task, presentation, exposure_ms: exposure, practice_trials: practice, test_trials: test } = about;
  const how = `how_${presentation}${exposure || presentation === "sequence" ? "" : "_stay"}`;
  const list = make("ul");
  const point = words => list.append(make("li", words));
  point(() => say(task === "realness" ? "how_fakes" : "how_all_fakes"));
  point(() => say(how, { seconds: seconds(exposure) }));
  if (about.mask && exposure) point(() => say("how_mask"));
  point(() => say(`ask_${asked()}`));
  point(() => say("how_time"));
  if (practice && task === "realness") point(() => say("how_practice", { practice, test }));
  if (matchMedia("(hover: hover)").matches) {
    point(() => say("how_keys", { keys: keyWords().replaceAll("   ", ", ") }));
  }
  point(() => say("how_leave"));
  await screen([title("how_title"), list], [{ key: "begin", main: true }]);
}

async function begin() {
  if (!session.key) {
    keep({ key: [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, "0")).join("") });
  }
  const { width, height } = window.screen, refresh_hz = Math.round(10000 / period) / 10;
  const { secret, state } = await call("session", {
    body: {
      participant: PARTICIPANT, key: session.key, language: LANGUAGES[language],
      screen: { width, height, dpr: devicePixelRatio, refresh_hz },
    },
  });
  keep({ secret });
  return state;
}

/** Where the session stands that this browser has begun; null if it has begun none. */
async function resume() {
  if (!session.secret) return null;
  if (session.pending) {
    try { await send(session.pending); } catch (error) { if (!(error instanceof Refused)) throw error; }
  }
  try {
    return await call("session");
  } catch (error) {
    if (!(error instanceof Refused && error.code === "no_session")) throw error;
    keep({ secret: null, key: null });
    return null;
  }
}

/** Refusals that come of another window, and those after which the server is asked where the session stands. */
const ELSEWHERE = ["stale_token", "gone", "out_of_order"], ASK_AGAIN = ["not_revealed", "bad_answer", "late", "closed"];

async function main() {
  const switcher = document.getElementById("language");
  put(switcher, () => say("language"));
  switcher.addEventListener("click", () => {
    language = 1 - language;
    remember("language", LANGUAGES[language]);
    relabel();
  });
  relabel();
  setProgress(null);
  about = await call("about");
  if (about.preview) {
    const mark = document.getElementById("preview");
    put(mark, () => say("preview_mark"));
    mark.hidden = false;
  }
  if (LINK.has("study") && LINK.get("study") !== about.name) return stop("other_study");
  if (LINK.get("assignmentId") === "ASSIGNMENT_ID_NOT_AVAILABLE") return stop("preview");
  openShelf(about.login?.user ? `hf:${about.login.user}` : PARTICIPANT);
  makeAnswers();
  await blank(300); // How long a frame is here.
  let state = await resume();
  if (!state && about.login && !about.login.user) {
    if (!about.login.url) return stop("no_login");
    return screen([title("login_title"), paragraph("login")],
      [{ href: about.login.url, words: () => say("log_in"), main: true }]);
  }
  // Before anybody has read and agreed to something.
  if (!state && (PARTICIPANT || about.login)) {
    await call("check", { body: { participant: PARTICIPANT, key: session.key } });
  }
  let greet = Boolean(state);
  if (!state) await consent();
  const first = state?.number === 1 && state.phase === (about.practice_trials ? "practice" : "test");
  if (!state || (first && state.trial && !state.trial.seen)) {
    await instructions();
    greet = false;
  }
  for (let refusals = 0; ;) {
    try {
      state ??= await begin();
      return await run(state, greet);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (ELSEWHERE.includes(error.code) && session.secret) {
        await screen([title("elsewhere_title"), paragraph("elsewhere")], [{ key: "here", main: true }]);
        refusals = 0;
      } else if (!ASK_AGAIN.includes(error.code) || !session.secret || ++refusals > 3) {
        if (error.code === "no_session") keep({ secret: null, key: null });
        return stop(error.code, error.message);
      }
      state = await call("session");
      greet = false;
    }
  }
}

main().catch(error => {
  if (!(error instanceof Refused)) console.error(error);
  return stop(error instanceof Refused ? error.code : "failed", error.message);
});
